//! Which text format a scraper gets, and the older one of the two.

use axum::http::{HeaderMap, HeaderValue, header};
use daemon::metrics::{Metric as _, answer, histogram, text};
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

fn asking(accept: &[&'static str]) -> HeaderMap {
    let values = accept.iter().map(|value| HeaderValue::from_static(value));
    values.map(|value| (header::ACCEPT, value)).collect()
}

#[test]
fn a_scraper_gets_openmetrics_where_it_prefers_that_and_else_the_older_format() {
    let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
        application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
        text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
        text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let cases: [(&[&str], &str); 18] = [
        (&[], CLASSIC),
        (&["*/*"], CLASSIC),
        (&["text/plain"], CLASSIC),
        (&["text/*"], CLASSIC),
        (&["text/plain;version=0.0.4;q=1,*/*;q=0.1"], CLASSIC),
        (&["application/openmetrics-text"], OPEN),
        (&["Application/OpenMetrics-Text; Version=\"1.0.0\""], OPEN),
        (&["application/*"], OPEN),
        (&[prometheus_3], OPEN),
        (&[prometheus_2], OPEN),
        (&["application/openmetrics-text;q=0.5, text/plain"], CLASSIC),
        (
            &["application/openmetrics-text;q=0.5", "text/plain;q=0.4"],
            OPEN,
        ),
        (&["application/openmetrics-text;q=0, */*"], CLASSIC),
        (&["text/plain;q=0, */*"], OPEN),
        // A version that is not ours is not what was asked for.
        (
            &["application/openmetrics-text;version=2.0.0, text/plain;q=0.1"],
            CLASSIC,
        ),
        (&["text/html, application/xhtml+xml, */*;q=0.8"], CLASSIC),
        (&["application/json"], CLASSIC),
        (
            &["application/openmetrics-text;q=nonsense, nonsense"],
            CLASSIC,
        ),
    ];
    for (accept, expected) in cases {
        let answered = answer(&asking(accept), String::new());
        assert_eq!(
            answered.headers()[header::CONTENT_TYPE],
            expected,
            "{accept:?}"
        );
        assert_eq!(answered.headers()[header::VARY], "accept");
    }
}

#[tokio::test]
async fn the_older_format_has_the_same_series_under_its_own_names() {
    let mut registry = prometheus_client::registry::Registry::default();
    daemon::metrics::build(&mut registry, "1.2.3");
    Counter::register(&mut registry, "frames", "Frames taken").inc_by(7);
    Gauge::register(&mut registry, "spool_bytes", "Bytes of the spool").set(-2);
    histogram(
        &mut registry,
        "encode_seconds",
        "Time that a frame took",
        [0.5, 1.0],
    )
    .observe(0.75);
    let open = text(&registry).expect("text");
    assert!(
        open.contains("# TYPE frames counter") && open.ends_with("# EOF\n"),
        "{open}"
    );

    let body = answer(&asking(&["text/plain"]), open.clone()).into_body();
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
    let expected = "\
# HELP build_info Version of this binary.
# TYPE build_info gauge
build_info{version=\"1.2.3\"} 1
# HELP frames_total Frames taken.
# TYPE frames_total counter
frames_total 7
# HELP spool_bytes Bytes of the spool.
# TYPE spool_bytes gauge
spool_bytes -2
# HELP encode_seconds Time that a frame took.
# TYPE encode_seconds histogram
encode_seconds_sum 0.75
encode_seconds_count 1
encode_seconds_bucket{le=\"0.5\"} 0
encode_seconds_bucket{le=\"1.0\"} 1
encode_seconds_bucket{le=\"+Inf\"} 1
";
    assert_eq!(String::from_utf8_lossy(&body), expected);

    let body = answer(&asking(&["application/openmetrics-text"]), open.clone()).into_body();
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
    assert_eq!(String::from_utf8_lossy(&body), open);
}
