//! Accepts HTTP connections.
//!
//! `axum::serve` has no timeout for a request's head, no bound on connections, and leaves
//! connections running after a shutdown; [`serve`] has all three, and TLS. HTTP/1.1 only.

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
use tokio_util::sync::CancellationToken;

use crate::tls::Acceptor;

/// Wait after an accept failed, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What clients can take of a server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections; further ones wait to be accepted.
    pub max_connections: usize,
    /// Longest that a TLS handshake, and then a request's head, may take to arrive.
    pub head_timeout: Duration,
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
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept(), if connections.len() < limits.max_connections => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (acceptor, router, stop) = (acceptor.clone(), router.clone(), stop.clone());
                let served = connection(stream, acceptor, router, limits.head_timeout, stop);
                connections.spawn(served);
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if time::timeout(limits.drain, drained).await.is_err() {
        let (open, drain) = (connections.len(), limits.drain);
        tracing::warn!(open, "aborting connections after {drain:?}");
        connections.shutdown().await;
    }
}

async fn connection(
    stream: TcpStream,
    acceptor: Acceptor,
    router: Router,
    head_timeout: Duration,
    stop: CancellationToken,
) {
    // Small events must not wait for more of them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot disable Nagle's algorithm");
    }
    let accepted = tokio::select! {
        accepted = time::timeout(head_timeout, acceptor.accept(stream)) => accepted,
        () = stop.cancelled() => return,
    };
    let stream = match accepted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => return tracing::debug!("a TLS handshake took longer than {head_timeout:?}"),
    };
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
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
