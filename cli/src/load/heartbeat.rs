//! Heartbeats of a connection: how long the other side is silent.
//!
//! Both sides of an uplink ping when they have heard nothing for a while. The other side's HTTP/2 answers at once,
//! whatever the service behind it does. So a connection that is silent for longer than that, plus a wait for the
//! answer, has missed a heartbeat, whether it survives or not.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::io::InspectReader;

use super::stats::Stats;

/// Longest wait for the answer to a ping: as long as the cloud waits for a node's.
const PATIENCE: Duration = Duration::from_secs(10);

/// Counts a connection's silences; the last one ends with the connection.
struct Heartbeat {
    heard: Instant,
    longest: Duration,
    stats: Arc<Stats>,
}

/// A connection whose silences are counted, and on which one side pings after a silence of `heartbeat`.
pub(super) fn watched(
    stream: TcpStream,
    heartbeat: Duration,
    stats: Arc<Stats>,
) -> InspectReader<TcpStream, impl FnMut(&[u8])> {
    let mut heartbeat = Heartbeat {
        heard: Instant::now(),
        longest: heartbeat + PATIENCE,
        stats,
    };
    InspectReader::new(stream, move |bytes| {
        if !bytes.is_empty() {
            heartbeat.silence_ends();
        }
    })
}

impl Heartbeat {
    fn silence_ends(&mut self) {
        let silence = self.heard.elapsed();
        self.heard = Instant::now();
        self.stats.silent(silence, silence > self.longest);
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.silence_ends();
    }
}
