//! From a listener to connections whose handshake is done, for HTTP and gRPC alike.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time,
};

use crate::{
    places::{Place, Places},
    tls::{Acceptor, Stream},
};

/// Connections that wait to be accepted; the system allows fewer by default, and drops what comes beyond them.
const BACKLOG: u32 = 4096;
/// Wait after an accept failed, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The same where a stranger left for the next one.
const ROOM_PAUSE: Duration = Duration::from_millis(1);

/// Listens on an address, port 0 for a free one.
///
/// # Errors
/// The address cannot be bound.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A port whose last connections have just ended is free.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

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
