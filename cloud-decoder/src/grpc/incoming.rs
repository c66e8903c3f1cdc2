//! Connections for the gRPC server, each after its TLS handshake.

use std::{io, sync::Arc, time::Duration};

use daemon::{connections, tls::Acceptor};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::idle::Connection;

/// Longest that a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Accepts until `stop`, at most `most` at once, those in the handshake included; further ones wait to be accepted. A slow
/// handshake holds up no other. A connection without a call for `idle` ends.
pub(super) fn incoming(
    listener: TcpListener,
    acceptor: Acceptor,
    most: usize,
    idle: Duration,
    stop: CancellationToken,
) -> ReceiverStream<io::Result<Connection>> {
    let (ready, connections) = mpsc::channel(1);
    tokio::spawn(stop.run_until_cancelled_owned(accept(listener, acceptor, most, idle, ready)));
    ReceiverStream::new(connections)
}

async fn accept(
    listener: TcpListener,
    acceptor: Acceptor,
    most: usize,
    idle: Duration,
    ready: mpsc::Sender<io::Result<Connection>>,
) {
    let places = Arc::new(Semaphore::new(most));
    while let Ok(place) = places.clone().acquire_owned().await {
        let stream = tokio::select! {
            () = ready.closed() => return,
            stream = connections::next(&listener) => stream,
        };
        let (acceptor, ready) = (acceptor.clone(), ready.clone());
        tokio::spawn(async move {
            let handshake = connections::handshake(&acceptor, stream, HANDSHAKE);
            if let Some(stream) = handshake.await {
                let connection = Connection::new(stream, place, idle);
                // A server that is gone takes none.
                ready.send(Ok(connection)).await.ok();
            }
        });
    }
}
