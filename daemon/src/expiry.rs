//! When certificates expire: told in time, for a service works on with one that nobody trusts any more.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prometheus_client::metrics::gauge::Gauge;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use tokio::{task::spawn_blocking, time::interval};
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::files;

/// How long before it expires a certificate is warned of.
pub const AHEAD: Duration = Duration::from_secs(14 * 86_400);
/// How often the file is looked at,
const PERIOD: Duration = Duration::from_secs(60);
/// and how often the log says so.
const TELL_EVERY: i64 = 86_400;

/// A certificate that is watched. Clones share it.
#[derive(Clone, Debug)]
pub struct Watched {
    /// What the log calls it, such as `tls.cert`.
    key: &'static str,
    path: Option<PathBuf>,
    /// In seconds since the Unix epoch; 0 if there is no certificate.
    expires: Arc<AtomicI64>,
    gauge: Gauge,
}

impl Watched {
    /// The certificate in a file, if there is one; the gauge has the second at which it expires.
    pub fn new(key: &'static str, path: Option<PathBuf>, gauge: Gauge) -> Self {
        let watched = Self {
            key,
            path,
            expires: Arc::default(),
            gauge,
        };
        watched.look();
        watched
    }

    /// When it expires, in seconds since the Unix epoch; nothing without a certificate.
    pub fn expires(&self) -> Option<i64> {
        Some(self.expires.load(Ordering::Relaxed)).filter(|&seconds| seconds != 0)
    }

    /// When it expires, if that is soon or was already, in milliseconds since the Unix epoch.
    pub fn expires_soon_ms(&self) -> Option<i64> {
        let expires = self.expires()?;
        (expires - now() < AHEAD.as_secs() as i64).then_some(expires * 1000)
    }

    /// Warns in time, until `stop`. A file that is exchanged is looked at again.
    pub async fn warn(self, stop: CancellationToken) {
        if self.path.is_none() {
            return;
        }
        let mut ticks = interval(PERIOD);
        let mut told = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let watched = self.clone();
            if spawn_blocking(move || watched.look()).await.is_err() {
                return;
            }
            let (now, Some(expires)) = (now(), self.expires()) else {
                continue;
            };
            let soon = self.expires_soon_ms().is_some();
            let due = told.is_none_or(|(of, at)| of != expires || now - at >= TELL_EVERY);
            if !soon || !due {
                continue;
            }
            told = Some((expires, now));
            let certificate = self.key;
            match expires - now {
                ..=0 => tracing::error!(certificate, "the certificate has expired"),
                left => tracing::warn!(
                    certificate,
                    hours = left / 3600,
                    "the certificate expires soon"
                ),
            }
        }
    }

    /// Reads the file. One that cannot be read or used is told where it is used.
    fn look(&self) {
        let found = self.path.as_ref().and_then(|path| {
            let pem = files::read(path).ok()?;
            let first = CertificateDer::pem_slice_iter(&pem).next()?.ok()?;
            let (_, certificate) = X509Certificate::from_der(&first).ok()?;
            Some(certificate.validity().not_after.timestamp())
        });
        if let Some(expires) = found {
            self.expires.store(expires, Ordering::Relaxed);
            self.gauge.set(expires);
        }
    }
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs() as i64
}
