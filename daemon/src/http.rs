//! Accepts HTTP connections.
//!
//! Unlike `axum::serve`, [`serve`] has timeouts for a request's head and for a client that does not read, a bound on
//! connections, an end for connections after a shutdown, and TLS. HTTP/1.1 only.

use std::{future::poll_fn, io, time::Duration};

use axum::{
    Router,
    http::{HeaderMap, Request, header::CONTENT_ENCODING},
};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time,
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::{
    connections::{self, Listener},
    lenient,
    slots::{Slot, Slots},
    tls::Acceptor,
};

/// Longest time that a client may continue to send after its last answer.
const LINGER: Duration = Duration::from_secs(5);

/// Limits for clients.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections of authenticated clients, and as many of others; see [`slots`](crate::slots).
    pub max_connections: usize,
    /// Longest time for a TLS handshake, and then for a request's head.
    pub head_timeout: Duration,
    /// Longest time that a client may read nothing of an answer that waits for it.
    pub stall_timeout: Duration,
    /// Longest time for requests in progress after the stop.
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
    let slots = Slots::new(limits.max_connections, limits.max_connections);
    let mut listener = Listener::new(listener, slots);
    let mut open = JoinSet::new();
    loop {
        let (stream, slot) = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = open.join_next() => continue,
            accepted = listener.next() => accepted,
        };
        let (acceptor, router, stop) = (acceptor.clone(), router.clone(), stop.clone());
        open.spawn(async move {
            let evicted = slot.evicted();
            tokio::select! {
                () = evicted => {}
                () = connection(stream, slot, acceptor, router, limits, stop) => {}
            }
        });
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

/// The `content-encoding` of a compressed body. Neither service takes such bodies: to a decoder of images they are
/// damaged.
pub fn compressed(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(CONTENT_ENCODING).iter();
    let codings = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let named = codings.collect::<Vec<_>>().join(", ");
    let plain = |coding: &str| matches!(&*coding.trim().to_ascii_lowercase(), "" | "identity");
    (!named.split(',').all(plain))
        .then(|| crate::error::one_line(&named).chars().take(40).collect())
}

async fn connection(
    stream: TcpStream,
    slot: Slot,
    acceptor: Acceptor,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let handshake = connections::handshake(&acceptor, stream, &slot, limits.head_timeout);
    let Some(Some(stream)) = stop.run_until_cancelled(handshake).await else {
        return;
    };
    let peer = slot.peer();
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.stall_timeout));
    let mut serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .serve_connection(
            TokioIo::new(Box::pin(stream)),
            TowerToHyperService::new(router.map_request(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(peer.clone());
                lenient::simplify::<Incoming>(request)
            })),
        );
    let result = tokio::select! {
        result = poll_fn(|context| serving.poll_without_shutdown(context)) => result,
        () = stop.cancelled() => {
            std::pin::Pin::new(&mut serving).graceful_shutdown();
            poll_fn(|context| serving.poll_without_shutdown(context)).await
        }
    };
    if let Err(error) = result {
        return tracing::debug!(%error, "a connection ended early");
    }
    let farewell = close(serving.into_parts().io.into_inner());
    match stop
        .run_until_cancelled(time::timeout(LINGER, farewell))
        .await
    {
        Some(Ok(Err(error))) => tracing::debug!(%error, "a connection ended early"),
        Some(Err(_)) => tracing::debug!("a client sent more for {LINGER:?} after its answer"),
        Some(Ok(Ok(()))) | None => {}
    }
}

/// Ends the stream and reads the remaining bytes. Closing a connection with unread bytes, such as those of a refused
/// body, resets it, and the client may lose the answer.
async fn close(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    stream.shutdown().await?;
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    Ok(())
}
