//! From a listener to connections after their handshake, for HTTP and gRPC.

use std::{collections::VecDeque, io, net::SocketAddr, time::Duration};

use rustix::process::{Resource, getrlimit};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::{self, Instant},
};

use crate::{
    slots::{Slot, Slots},
    tls::{Acceptor, Stream},
};

/// Connections that wait to be accepted; the system allows fewer by default and drops any beyond them.
const BACKLOG: u32 = 1024;
/// How long a connection without a slot is held before it is closed.
const HOLD: Duration = Duration::from_secs(10);
/// Most connections that are held so.
const MAX_HELD: usize = 8192;
/// Held connections take at most one in this many of the files that the process may open.
const FILES_PER_HELD: u64 = 8;
/// Wait after a failed accept, for example when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The same where a connection was closed to make room.
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

/// Accepts connections as long as there are slots.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    slots: Slots,
    /// Connections without a slot, and since when. They are held for a while before they are closed, which slows down
    /// whoever floods the listener, and lets others be accepted.
    held: VecDeque<(Instant, TcpStream)>,
    max_held: usize,
}

impl Listener {
    /// Accepts connections of `listener` into `slots`.
    pub fn new(listener: TcpListener, slots: Slots) -> Self {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let share = usize::try_from(files / FILES_PER_HELD).unwrap_or(usize::MAX);
        Self {
            listener,
            slots,
            held: VecDeque::new(),
            max_held: MAX_HELD.min(share),
        }
    }

    /// The next connection and its slot. A failed accept closes other connections, is logged and tried again.
    pub async fn next(&mut self) -> (TcpStream, Slot) {
        loop {
            let oldest = self.held.front().map(|(since, _)| *since + HOLD);
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = time::sleep_until(oldest.unwrap_or_else(Instant::now)), if oldest.is_some() => {
                    self.held.pop_front();
                    continue;
                }
            };
            match accepted {
                Ok((stream, address)) => match self.slots.enter(address.ip()) {
                    Some(slot) => return (stream, slot),
                    None => self.hold(stream),
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

    fn hold(&mut self, stream: TcpStream) {
        if self.held.len() >= self.max_held {
            self.held.pop_front();
        }
        self.held.push_back((Instant::now(), stream));
    }

    /// Closes connections to free file descriptors. Returns whether there were any.
    fn make_room(&mut self) -> bool {
        let held = self.held.len();
        self.held.clear();
        held > 0 || self.slots.evict()
    }
}

/// Makes the handshake, if there is TLS. `None` when it fails, takes longer than `patience` or its slot is lost.
pub async fn handshake(
    acceptor: &Acceptor,
    stream: TcpStream,
    slot: &Slot,
    patience: Duration,
) -> Option<Stream> {
    // Small messages must not wait for further ones.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot disable Nagle's algorithm");
    }
    let accepted = tokio::select! {
        () = slot.evicted() => return None,
        accepted = time::timeout(patience, acceptor.accept(stream)) => accepted,
    };
    match accepted {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took longer than {patience:?}"),
    }
    None
}
