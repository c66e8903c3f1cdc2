//! Connections for the gRPC server, each after its TLS handshake.

use std::{io, time::Duration};

use daemon::{
    connections::{self, Listener},
    slots::Slots,
    tls::Acceptor,
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::idle::{Connection, Ends};

/// Longest that a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Accepts connections until `stop`, as many at once as there are slots, including those in the handshake. A slow
/// handshake delays no other.
pub(super) fn incoming(
    listener: TcpListener,
    acceptor: Acceptor,
    slots: Slots,
    ends: Ends,
    stop: CancellationToken,
) -> ReceiverStream<io::Result<Connection>> {
    let (ready, connections) = mpsc::channel(1);
    tokio::spawn(stop.run_until_cancelled_owned(accept(listener, acceptor, slots, ends, ready)));
    ReceiverStream::new(connections)
}

async fn accept(
    listener: TcpListener,
    acceptor: Acceptor,
    slots: Slots,
    ends: Ends,
    ready: mpsc::Sender<io::Result<Connection>>,
) {
    let mut listener = Listener::new(listener, slots);
    loop {
        let (stream, slot) = tokio::select! {
            () = ready.closed() => return,
            accepted = listener.next() => accepted,
        };
        let (acceptor, ready) = (acceptor.clone(), ready.clone());
        tokio::spawn(async move {
            let handshake = connections::handshake(&acceptor, stream, &slot, HANDSHAKE);
            if let Some(stream) = handshake.await {
                let connection = Connection::new(stream, slot, ends);
                // A server that is gone takes none.
                ready.send(Ok(connection)).await.ok();
            }
        });
    }
}
