//! One edge node: its frames wait for its window, and go again on the next stream when one breaks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use bytes::Bytes;
use daemon::one_line;
use edge_node::backoff::Backoff;
use edge_node::uplink::{LinkError, Reply, Verdict};
use patchwire_proto::v1::{EdgeMessage, EncodedFrame, NodeStatus, edge_message::Body};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use uuid::Uuid;

use super::cloud::{Cloud, Link};
use super::pictures::Picture;

/// How often the cloud is told how the spool fares, if that changed, as edge nodes do.
const STATUS_PERIOD: Duration = Duration::from_secs(2);
/// Longest wait for the cloud to end a stream that is over.
const FAREWELL: Duration = Duration::from_secs(1);

/// A node, whose id is also that of its camera.
pub(super) struct Node {
    id: String,
    cloud: Arc<Cloud>,
    pictures: Arc<[Picture]>,
    due: mpsc::Receiver<Instant>,
    /// No more frames will be due.
    finished: bool,
    /// Sent on a stream that broke, oldest first.
    again: VecDeque<(Uuid, Instant)>,
    /// Sent and not acknowledged; when they were due.
    in_flight: BTreeMap<Uuid, Instant>,
    backoff: Backoff,
}

/// Why a stream came to its end without failing.
enum End {
    /// All is acknowledged and nothing more is due.
    Finished,
    /// The cloud wants the node on another one.
    Drained,
}

impl Node {
    /// A node whose frames are `due` at these times.
    pub(super) fn new(
        id: String,
        cloud: Arc<Cloud>,
        pictures: Arc<[Picture]>,
        due: mpsc::Receiver<Instant>,
    ) -> Self {
        let settings = cloud.settings();
        let backoff = Backoff::new(settings.backoff_min_ms, settings.backoff_max_ms);
        Self {
            id,
            cloud,
            pictures,
            due,
            finished: false,
            again: VecDeque::new(),
            in_flight: BTreeMap::new(),
            backoff,
        }
    }

    /// Sends frames on this stream and on those after it, until all that were due are acknowledged.
    pub(super) async fn run(mut self, link: Link) {
        let mut link = Some(link);
        loop {
            match self.stream(link.take()).await {
                Ok(End::Finished) => return,
                Ok(End::Drained) => self.cloud.tally.drained(),
                Err(error) => {
                    self.cloud.tally.lost(&format!("{}: {error:#}", self.id));
                    self.again.extend(std::mem::take(&mut self.in_flight));
                    if self.again.is_empty() && self.due.is_closed() && self.due.is_empty() {
                        return;
                    }
                    sleep(self.backoff.wait()).await;
                }
            }
        }
    }

    async fn stream(&mut self, link: Option<Link>) -> Result<End> {
        let Link {
            outbound,
            mut inbound,
            welcome,
        } = match link {
            Some(link) => link,
            None => {
                let link = self.cloud.call(&self.id).await?;
                self.cloud.tally.reconnected();
                link
            }
        };
        let window = self.cloud.settings().window.min(welcome.window).max(1) as usize;
        let mut draining = false;
        let mut told = None;
        let mut ticks = interval(STATUS_PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if self.in_flight.is_empty() && (draining || (self.finished && self.again.is_empty())) {
                // Ends the stream from here; the cloud does the same.
                drop(outbound);
                timeout(FAREWELL, inbound.message()).await.ok();
                return Ok(if draining {
                    End::Drained
                } else {
                    End::Finished
                });
            }
            let room = !draining && self.in_flight.len() < window;
            tokio::select! {
                message = inbound.message() => {
                    let message = message.map_err(|status| anyhow::Error::msg(one_line(&LinkError::from(status))))?;
                    let Some(message) = message else { bail!(LinkError::Closed) };
                    match Reply::try_from(message)? {
                        Reply::Verdict(verdict) => self.acked(&verdict)?,
                        Reply::Drain => draining = true,
                    }
                }
                permit = outbound.reserve(), if room && !self.again.is_empty() => {
                    let permit = permit.map_err(|_| LinkError::Closed)?;
                    if let Some((id, due)) = self.again.pop_front() {
                        permit.send(self.frame(id, due));
                    }
                }
                due = self.due.recv(), if room && self.again.is_empty() && !self.finished => match due {
                    // Its id is made now, as an edge node's.
                    Some(due) => self.again.push_back((Uuid::now_v7(), due)),
                    None => self.finished = true,
                },
                _ = ticks.tick(), if welcome.takes_status => {
                    let now = self.status();
                    if told != Some(now) {
                        told = Some(now);
                        let body = Some(Body::Status(now));
                        outbound.send(EdgeMessage { body }).await.map_err(|_| LinkError::Closed)?;
                    }
                }
            }
        }
    }

    /// The message of a frame, which is in flight from now on.
    fn frame(&mut self, id: Uuid, due: Instant) -> EdgeMessage {
        self.in_flight.insert(id, due);
        let captured = SystemTime::now() - due.elapsed();
        let captured = captured.duration_since(UNIX_EPOCH).unwrap_or_default();
        let picture = id.as_u128() as usize % self.pictures.len();
        let frame = EncodedFrame {
            frame_id: Bytes::copy_from_slice(id.as_bytes()),
            camera_id: self.id.clone(),
            captured_unix_ms: captured.as_millis() as i64,
            ..self.pictures[picture].clone()
        };
        let body = Some(Body::Frame(frame));
        EdgeMessage { body }
    }

    fn status(&self) -> NodeStatus {
        let frames = (self.due.len() + self.again.len() + self.in_flight.len()) as u64;
        NodeStatus {
            spool_frames: frames,
            spool_bytes: frames * self.pictures[0].latents.len() as u64,
            spool_max_bytes: 1 << 30,
            bits_per_patch: self.cloud.bits_per_patch(),
            dropped_frames: 0,
            held_frames: 0,
        }
    }

    fn acked(&mut self, verdict: &Verdict) -> Result<()> {
        let Some(due) = self.in_flight.remove(&verdict.id) else {
            bail!(
                "the cloud acknowledged {}, which is not in flight",
                verdict.id
            );
        };
        self.backoff.reset();
        self.cloud.tally.acked(&verdict.state, due.elapsed());
        Ok(())
    }
}
