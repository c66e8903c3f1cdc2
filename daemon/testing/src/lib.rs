//! Helpers for the tests of both services. They panic where a test must fail.
#![forbid(unsafe_code)]

pub mod engines;
pub mod proxy;
pub mod storm;

use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::time::{Instant, sleep};

/// Pause before a condition is looked at again.
const POLL: Duration = Duration::from_millis(20);

/// A certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub pem: String,
}

impl Authority {
    /// A new one.
    #[expect(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::new(Vec::new()).expect("params");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("certificate").pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem }
    }

    /// PEM of a certificate for `localhost` and of its key.
    pub fn sign(&self) -> (String, String) {
        self.sign_with(|_| {})
    }

    /// The same, of one that expires at this time.
    pub fn sign_until(&self, end: SystemTime) -> (String, String) {
        self.sign_with(|params| params.not_after = end.into())
    }

    fn sign_with(&self, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::new(vec!["localhost".into()]).expect("params");
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).expect("certificate");
        (certificate.pem(), key.serialize_pem())
    }
}

/// An HTTP client without TLS, since reading the system's certificates takes longer than most requests here, and
/// without the proxies of the environment.
pub fn client() -> reqwest::Client {
    let client = reqwest::Client::builder().tls_certs_only([]).no_proxy();
    client.build().expect("client")
}

/// Looks at `condition` until it gives a value.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not within {within:?}");
        sleep(POLL).await;
    }
}
