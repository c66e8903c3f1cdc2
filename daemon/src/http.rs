//! Accepts HTTP connections.
//!
//! `axum::serve` has no timeout for a request's head or for a client that does not read, no bound on
//! connections, and leaves connections running after a shutdown; [`serve`] has all of these, and TLS. HTTP/1.1 only.

use std::{pin::pin, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time,
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use crate::{connections, tls::Acceptor};

/// What clients can take of a server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections; further ones wait to be accepted.
    pub max_connections: usize,
    /// Longest that a TLS handshake, and then a request's head, may take to arrive.
    pub head_timeout: Duration,
    /// Longest that a client may take nothing of an answer that waits for it.
    pub stall_timeout: Duration,
    /// Longest that requests in progress may take after the stop.
    pub drain: Duration,
}

/// Serves `router` until `stop`, then finishes requests in progress for at most
/// [`drain`](Limits::drain) and aborts the rest.
pub async fn serve(
    listener: TcpListener,
    acceptor: Acceptor,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let mut open = JoinSet::new();
    loop {
        let room = open.len() < limits.max_connections;
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = open.join_next() => continue,
            stream = connections::next(&listener), if room => stream,
        };
        let (acceptor, router, stop) = (acceptor.clone(), router.clone(), stop.clone());
        open.spawn(connection(stream, acceptor, router, limits, stop));
    }
    drop(listener);
    let drained = async { while open.join_next().await.is_some() {} };
    if time::timeout(limits.drain, drained).await.is_err() {
        tracing::warn!(
            open = open.len(),
            "aborting connections after {:?}",
            limits.drain
        );
        open.shutdown().await;
    }
}

async fn connection(
    stream: TcpStream,
    acceptor: Acceptor,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let handshake = connections::handshake(&acceptor, stream, limits.head_timeout);
    let Some(Some(stream)) = stop.run_until_cancelled(handshake).await else {
        return;
    };
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.stall_timeout));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .serve_connection(
            TokioIo::new(Box::pin(stream)),
            TowerToHyperService::new(router),
        );
    let mut serving = pin!(serving);
    let result = tokio::select! {
        result = serving.as_mut() => result,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}
