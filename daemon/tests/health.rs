//! The health check, against real sockets.

use std::{
    future::pending,
    net::SocketAddr,
    time::{Duration, Instant},
};

use axum::{Router, http::StatusCode, routing::get};
use daemon::{
    health::{HealthError, TIMEOUT, check},
    http::{Limits, serve},
    tls::Acceptor,
};
use tokio::{io::AsyncWriteExt as _, net::TcpListener};
use tokio_util::sync::CancellationToken;

const LIMITS: Limits = Limits {
    max_connections: 8,
    head_timeout: Duration::from_secs(20),
    stall_timeout: Duration::from_secs(20),
    drain: Duration::ZERO,
};

async fn listener(on: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(on).await.expect("bind");
    let addr = listener.local_addr().expect("address");
    (listener, addr)
}

/// A service that answers `/readyz` so.
async fn service(on: &str, answer: (StatusCode, &'static str)) -> SocketAddr {
    let (listener, addr) = listener(on).await;
    let router = Router::new().route("/readyz", get(async move || answer));
    let acceptor = Acceptor::default();
    let stop = CancellationToken::new();
    tokio::spawn(serve(listener, acceptor, router, LIMITS, stop));
    addr
}

async fn refusal(addr: SocketAddr) -> HealthError {
    let error = check(addr, false).await.expect_err("not ready");
    assert!(!error.to_string().contains('\n'), "{error}");
    error
}

#[tokio::test]
async fn a_ready_service_is_found_on_loopback_if_it_listens_on_all_addresses() {
    let addr = service("0.0.0.0:0", (StatusCode::OK, "ready\n")).await;
    let asked = check(addr, false).await.expect("ready");
    assert_eq!(asked, SocketAddr::from(([127, 0, 0, 1], addr.port())));
}

#[tokio::test]
async fn a_service_that_is_not_ready_gives_its_reason() {
    let json = r#"{"error": "the decoder is warming up"}"#;
    let addr = service("127.0.0.1:0", (StatusCode::SERVICE_UNAVAILABLE, json)).await;
    let told = refusal(addr).await.to_string();
    assert!(told.contains("the decoder is warming up (503"), "{told}");

    let other = (StatusCode::NOT_FOUND, "some other\nservice");
    let addr = service("127.0.0.1:0", other).await;
    let told = refusal(addr).await.to_string();
    assert!(told.contains("some other service (404"), "{told}");
}

#[tokio::test]
async fn what_does_not_answer_is_not_ready() {
    let (unused, addr) = listener("127.0.0.1:0").await;
    drop(unused);
    assert!(matches!(
        refusal(addr).await,
        HealthError::Unreachable(at, _) if at == addr
    ));

    let (babbler, addr) = listener("127.0.0.1:0").await;
    tokio::spawn(async move {
        let (mut stream, _) = babbler.accept().await.expect("accept");
        stream.write_all(b"+OK hello\r\n").await.expect("write");
        pending::<()>().await;
    });
    assert!(matches!(
        refusal(addr).await,
        HealthError::NoAnswer(at, _) if at == addr
    ));

    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    assert!(matches!(refusal(any).await, HealthError::AnyPort));
}

#[tokio::test]
async fn silence_is_waited_for_only_so_long() {
    // The system accepts the connection; nobody reads it.
    let (_silent, addr) = listener("127.0.0.1:0").await;
    let start = Instant::now();
    assert!(matches!(refusal(addr).await, HealthError::Late(at) if at == addr));
    let waited = start.elapsed();
    assert!((TIMEOUT..4 * TIMEOUT).contains(&waited), "{waited:?}");
}
