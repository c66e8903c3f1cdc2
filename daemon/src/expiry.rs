//! Warns before certificates expire. A service would otherwise go on with a certificate that nobody trusts any more.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use prometheus_client::metrics::gauge::Gauge;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use tokio::{task::spawn_blocking, time::interval};
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{clock::now_ms, files};

/// Time before the expiry from which the log warns.
pub const WARN_BEFORE: Duration = Duration::from_secs(14 * 86_400);
/// How often the file is read.
const PERIOD: Duration = Duration::from_secs(60);
/// How often the log warns, in seconds.
const LOG_PERIOD_S: i64 = 86_400;

/// A certificate that is watched. Clones share it.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Its name in the log, such as `tls.cert`.
    key: &'static str,
    path: Option<PathBuf>,
    /// In seconds since the Unix epoch; 0 if there is no certificate.
    expires: Arc<AtomicI64>,
    gauge: Gauge,
}

impl Watched {
    /// Watches the certificate in a file, if there is one. The gauge gets its expiry in seconds since the Unix epoch.
    pub fn new(key: &'static str, path: Option<PathBuf>, gauge: Gauge) -> Self {
        let watched = Self {
            key,
            path,
            expires: Arc::default(),
            gauge,
        };
        watched.read();
        watched
    }

    /// When the certificate expires, in seconds since the Unix epoch; `None` without a certificate.
    pub fn expires(&self) -> Option<i64> {
        Some(self.expires.load(Ordering::Relaxed)).filter(|&seconds| seconds != 0)
    }

    /// When the certificate expires, if soon or already past, in milliseconds since the Unix epoch.
    pub fn expires_soon_ms(&self) -> Option<i64> {
        let expires = self.expires()?;
        (expires - now_s() < WARN_BEFORE.as_secs() as i64).then_some(expires * 1000)
    }

    /// Warns in the log, until `stop`. A file that is exchanged is read again.
    pub async fn warn(self, stop: CancellationToken) {
        if self.path.is_none() {
            return;
        }
        let mut ticks = interval(PERIOD);
        let mut warned = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let watched = self.clone();
            if spawn_blocking(move || watched.read()).await.is_err() {
                return;
            }
            let (now, Some(expires)) = (now_s(), self.expires()) else {
                continue;
            };
            let soon = self.expires_soon_ms().is_some();
            let due = warned.is_none_or(|(of, at)| of != expires || now - at >= LOG_PERIOD_S);
            if !soon || !due {
                continue;
            }
            warned = Some((expires, now));
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

    /// Reads the file. Errors are reported where the certificate is used.
    fn read(&self) {
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

fn now_s() -> i64 {
    now_ms() / 1000
}
