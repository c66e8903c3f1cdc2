//! From a listener to connections whose handshake is done, for HTTP and gRPC alike.

use std::time::Duration;

use tokio::{
    net::{TcpListener, TcpStream},
    time,
};

use crate::tls::{Acceptor, Stream};

/// Wait after an accept failed, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The next connection. An accept that fails is told in the log and tried again.
pub async fn next(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Makes the handshake, if there is TLS; nothing when it fails or takes longer than `patience`.
pub async fn handshake(
    acceptor: &Acceptor,
    stream: TcpStream,
    patience: Duration,
) -> Option<Stream> {
    // Small messages must not wait for more of them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot disable Nagle's algorithm");
    }
    match time::timeout(patience, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took longer than {patience:?}"),
    }
    None
}
