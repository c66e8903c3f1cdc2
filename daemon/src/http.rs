//! Accepts HTTP connections.
//!
//! `axum::serve` has no timeout for a request's head or for a client that does not read, no bound on
//! connections, and leaves connections running after a shutdown; [`serve`] has all of these, and TLS. HTTP/1.1 only.

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
    connections::{self, Door},
    lenient,
    places::{Place, Places},
    tls::Acceptor,
};

/// Longest that a client may go on sending after its last answer.
const LINGER: Duration = Duration::from_secs(5);

/// What clients can take of a server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections of those whose requests were authorized, and as many of strangers; see [`places`](crate::places).
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
    let places = Places::new(limits.max_connections, limits.max_connections);
    let mut door = Door::new(listener, places);
    let mut open = JoinSet::new();
    loop {
        let (stream, place) = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = open.join_next() => continue,
            accepted = door.next() => accepted,
        };
        let (acceptor, router, stop) = (acceptor.clone(), router.clone(), stop.clone());
        open.spawn(async move {
            let turned_out = place.turned_out();
            tokio::select! {
                () = turned_out => {}
                () = connection(stream, place, acceptor, router, limits, stop) => {}
            }
        });
    }
    drop(door);
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

/// What a body is compressed with, if it is: neither service takes such bodies, and a decoder of images would find them damaged.
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
    place: Place,
    acceptor: Acceptor,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let handshake = connections::handshake(&acceptor, stream, &place, limits.head_timeout);
    let Some(Some(stream)) = stop.run_until_cancelled(handshake).await else {
        return;
    };
    let pass = place.pass();
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.stall_timeout));
    let mut serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .serve_connection(
            TokioIo::new(Box::pin(stream)),
            TowerToHyperService::new(router.map_request(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(pass.clone());
                lenient::plain::<Incoming>(request)
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
    let farewell = part(serving.into_parts().io.into_inner());
    match stop
        .run_until_cancelled(time::timeout(LINGER, farewell))
        .await
    {
        Some(Ok(Err(error))) => tracing::debug!(%error, "a connection ended early"),
        Some(Err(_)) => tracing::debug!("a client sent more for {LINGER:?} after its answer"),
        Some(Ok(Ok(()))) | None => {}
    }
}

/// Ends the stream and reads what is still coming: to close over unread bytes, as of a body that was refused, resets
/// the connection, and the client may lose the answer.
async fn part(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    stream.shutdown().await?;
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    Ok(())
}
