//! A connection's heartbeat: how long the other side says nothing.
//!
//! Both sides of an uplink ping when they have heard nothing for a while, and are answered at once by the other side's
//! HTTP/2, not by what is behind it. So a connection that is silent for longer than that, and a wait on top, has missed
//! a heartbeat, whether it survives or not.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::io::InspectReader;

use super::tally::Tally;

/// What an answer to a ping may take: as long as the cloud waits for a node's.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tells of a connection's silences, to the last one that its end ends.
struct Pulse {
    heard: Instant,
    most: Duration,
    tally: Arc<Tally>,
}

/// A connection on which one side pings after `heartbeat` without a word, and whose silences are told.
pub(super) fn listened(
    stream: TcpStream,
    heartbeat: Duration,
    tally: Arc<Tally>,
) -> InspectReader<TcpStream, impl FnMut(&[u8])> {
    let mut pulse = Pulse {
        heard: Instant::now(),
        most: heartbeat + PATIENCE,
        tally,
    };
    InspectReader::new(stream, move |bytes| {
        if !bytes.is_empty() {
            pulse.silence_ends();
        }
    })
}

impl Pulse {
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
