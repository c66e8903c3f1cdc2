//! A certificate that expires is told in time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use daemon::expiry::Watched;
use prometheus_client::metrics::gauge::Gauge;
use testing::Authority;

const DAY: Duration = Duration::from_secs(86_400);

fn watched(end: SystemTime) -> (Watched, Gauge, i64) {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("cert.pem");
    let (cert, _) = Authority::new().sign_until(end);
    std::fs::write(&path, cert).expect("cert");
    let gauge = Gauge::default();
    let end = end.duration_since(UNIX_EPOCH).expect("after 1970");
    let watched = Watched::new("tls.cert", Some(path), gauge.clone());
    (watched, gauge, end.as_secs() as i64)
}

#[test]
fn a_certificate_is_warned_of_two_weeks_before_it_expires_and_after() {
    let now = SystemTime::now();
    for (end, soon) in [
        (now + 30 * DAY, false),
        (now + 15 * DAY, false),
        (now + 13 * DAY, true),
        (now - DAY, true),
    ] {
        let (watched, gauge, seconds) = watched(end);
        assert_eq!(watched.expires(), Some(seconds));
        assert_eq!(gauge.get(), seconds, "the metric");
        let told = watched.expires_soon_ms();
        assert_eq!(told, soon.then_some(seconds * 1000), "{end:?}");
    }
}

#[test]
fn without_a_certificate_nothing_expires() {
    let watched = Watched::new("tls.cert", None, Gauge::default());
    assert_eq!((watched.expires(), watched.expires_soon_ms()), (None, None));
}
