//! From a listener to connections whose handshake is done, for HTTP and gRPC alike.

use std::time::Duration;

use tokio::{
    net::{TcpListener, TcpStream},
    time,
};

use crate::{
    places::{Place, Places},
    tls::{Acceptor, Stream},
};

/// Wait after an accept failed, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The same where a stranger left for the next one.
const ROOM_PAUSE: Duration = Duration::from_millis(1);

/// The next connection and its place. An accept that fails turns out a stranger, is told in the log and tried again.
pub async fn next(listener: &TcpListener, places: &Places) -> (TcpStream, Place) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                // Without a place it is closed.
                if let Some(place) = places.enter(address.ip()) {
                    return (stream, place);
                }
            }
            Err(error) if places.turn_out() => {
                tracing::debug!(%error, "accepting a connection failed");
                time::sleep(ROOM_PAUSE).await;
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Makes the handshake, if there is TLS; nothing when it fails, takes longer than `patience` or loses its place.
pub async fn handshake(
    acceptor: &Acceptor,
    stream: TcpStream,
    place: &Place,
    patience: Duration,
) -> Option<Stream> {
    // Small messages must not wait for more of them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot disable Nagle's algorithm");
    }
    let accepted = tokio::select! {
        () = place.turned_out() => return None,
        accepted = time::timeout(patience, acceptor.accept(stream)) => accepted,
    };
    match accepted {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took longer than {patience:?}"),
    }
    None
}
