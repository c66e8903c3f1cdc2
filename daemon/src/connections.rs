//! From a listener to connections whose handshake is done, for HTTP and gRPC alike.

use std::{collections::VecDeque, io, net::SocketAddr, time::Duration};

use rustix::process::{Resource, getrlimit};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::{self, Instant},
};

use crate::{
    places::{Place, Places},
    tls::{Acceptor, Stream},
};

/// Connections that wait to be accepted; the system allows fewer by default, and drops what comes beyond them.
const BACKLOG: u32 = 1024;
/// How long a connection without a place is held before it is closed,
const OUTSIDE: Duration = Duration::from_secs(10);
/// how many are at once,
const MOST_OUTSIDE: usize = 8192;
/// and which part of the files that the process may open.
const FILES_OF_OUTSIDE: u64 = 8;
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

/// Where connections come in.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    places: Places,
    /// Those that got no place, since when. They are held for a while before they are closed: whoever floods a door waits
    /// for that, and others get to be accepted.
    outside: VecDeque<(Instant, TcpStream)>,
    most_outside: usize,
}

impl Door {
    /// Takes connections of a listener as long as there are places.
    pub fn new(listener: TcpListener, places: Places) -> Self {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let share = usize::try_from(files / FILES_OF_OUTSIDE).unwrap_or(usize::MAX);
        Self {
            listener,
            places,
            outside: VecDeque::new(),
            most_outside: MOST_OUTSIDE.min(share),
        }
    }

    /// The next connection and its place. An accept that fails closes others, is told in the log and tried again.
    pub async fn next(&mut self) -> (TcpStream, Place) {
        loop {
            let oldest = self.outside.front().map(|(since, _)| *since + OUTSIDE);
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = time::sleep_until(oldest.unwrap_or_else(Instant::now)), if oldest.is_some() => {
                    self.outside.pop_front();
                    continue;
                }
            };
            match accepted {
                Ok((stream, address)) => match self.places.enter(address.ip()) {
                    Some(place) => return (stream, place),
                    None => self.keep_outside(stream),
                },
                Err(error) if self.make_room() => {
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

    fn keep_outside(&mut self, stream: TcpStream) {
        if self.outside.len() >= self.most_outside {
            self.outside.pop_front();
        }
        self.outside.push_back((Instant::now(), stream));
    }

    /// Whether a connection was closed for want of files.
    fn make_room(&mut self) -> bool {
        let outside = self.outside.len();
        self.outside.clear();
        outside > 0 || self.places.turn_out()
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
