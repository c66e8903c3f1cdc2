//! A connection's heartbeat: how long the other side says nothing.
//!
//! Both sides of an uplink ping when they have heard nothing for a while, and are answered at once by the other side's HTTP/2,
//! not by what is behind it. So a connection that is silent for longer than that, and a wait on top, has missed a heartbeat,
//! whether it survives or not.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::tally::Tally;

/// What an answer to a ping may take: as long as the cloud waits for a node's.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection that tells of its silences.
pub(super) struct Pulse {
    stream: TcpStream,
    heard: Instant,
    most: Duration,
    tally: Arc<Tally>,
}

impl Pulse {
    /// A connection on which one side pings after `heartbeat` without a word.
    pub(super) fn new(stream: TcpStream, heartbeat: Duration, tally: Arc<Tally>) -> Self {
        Self {
            stream,
            heard: Instant::now(),
            most: heartbeat + PATIENCE,
            tally,
        }
    }

    fn silence_ends(&mut self) {
        let silence = self.heard.elapsed();
        self.heard = Instant::now();
        self.tally.silent(silence, silence > self.most);
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.silence_ends();
    }
}

impl AsyncRead for Pulse {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.silence_ends();
        }
        read
    }
}

impl AsyncWrite for Pulse {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
