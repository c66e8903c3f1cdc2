//! One stream, from the welcome to its end.

use std::{
    future::{pending, ready},
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use patchwire_proto::{
    limits,
    v1::{CloudMessage, EdgeMessage, EncodedFrame, Hello, NodeStatus, edge_message::Body},
};
use prost::Message as _;
use tokio::{
    sync::{mpsc, watch},
    time::{self, MissedTickBehavior},
};
use tonic::Streaming;

use crate::{
    ack::{Ack, Outcome, Reply},
    coding::{Coding, Ready},
    connection::Connection,
    error::LinkError,
    fit::Capacity,
    link::{End, Held, Link},
    source::{Entry, Source},
    window::Window,
};

/// Time between two statuses of the source, which are only sent after a change.
const STATUS_PERIOD: Duration = Duration::from_secs(2);
/// Frames that are too large for the cloud and skipped in a row before acks are read again.
const SKIPPED_IN_A_ROW: u32 = 64;
/// Longest wait for the cloud to end a drained stream.
const FAREWELL: Duration = Duration::from_secs(1);

/// A stream that the cloud has welcomed.
pub(crate) struct Session<'a, S> {
    source: &'a S,
    link: &'a watch::Sender<Link>,
    inbound: Streaming<CloudMessage>,
    hello: watch::Receiver<Hello>,
    takes_status: bool,
    capacity: Capacity,
    coding: Coding,
    window: Window,
    /// Place of the last frame that was read from the source.
    read_to: i64,
    /// The next frame to send.
    next: Option<Ready>,
    /// Reading stopped after frames that are too large; more may follow.
    reads_on: bool,
    /// No more frames are sent on this stream.
    draining: bool,
    /// The status that was sent last.
    last_status: Option<NodeStatus>,
    /// A status that is to be sent.
    status: Option<NodeStatus>,
}

impl<'a, S: Source> Session<'a, S> {
    /// Takes over a connection. `window` is the most frames without an ack, `max_message_bytes` this side's largest
    /// message.
    pub(crate) fn new(
        connection: Connection,
        window: usize,
        max_message_bytes: usize,
        coding: Coding,
        source: &'a S,
        link: &'a watch::Sender<Link>,
    ) -> (Self, mpsc::Sender<EdgeMessage>) {
        let capacity = Capacity::new(&connection.welcome, max_message_bytes);
        let session = Self {
            source,
            link,
            inbound: connection.inbound,
            hello: connection.hello,
            takes_status: connection.welcome.takes_status,
            window: Window::new(window, capacity.max_message_bytes()),
            capacity,
            coding,
            read_to: 0,
            next: None,
            reads_on: false,
            draining: false,
            last_status: None,
            status: None,
        };
        (session, connection.outbound)
    }

    /// Sends frames and takes acks until the stream fails, is drained, or the source is finished.
    ///
    /// # Errors
    /// Why the stream failed.
    pub(crate) async fn run(
        mut self,
        outbound: mpsc::Sender<EdgeMessage>,
    ) -> Result<End, LinkError> {
        self.hold(Held::default());
        let mut ticks = time::interval(STATUS_PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Some(end) = self.end() {
                // Ends the stream from this side; the cloud does the same.
                drop(outbound);
                time::timeout(FAREWELL, self.inbound.message()).await.ok();
                return Ok(end);
            }
            if self.wants_frame() {
                self.read_next().await?;
            }
            let sends = self.status.is_some() || self.can_send();
            let wants = self.wants_frame();
            let (deadline, timeout) = self.window.deadline();
            tokio::select! {
                message = self.inbound.message() => {
                    self.receive(message?.ok_or(LinkError::Closed)?).await?;
                }
                _ = ticks.tick(), if self.takes_status => self.update_status(),
                permit = outbound.reserve(), if sends => {
                    permit.map_err(|_| LinkError::Closed)?.send(self.next_message()?);
                }
                () = changed(&mut self.hello), if !self.draining => self.draining = true,
                () = self.source.arrival(), if wants => {}
                () = ready(()), if wants && self.reads_on => {}
                () = time::sleep_until(deadline), if !self.window.is_empty() => {
                    return Err(LinkError::Stalled(timeout));
                }
            }
        }
    }

    fn end(&self) -> Option<End> {
        if !self.window.is_empty() {
            return None;
        }
        let finished = self.next.is_none() && self.source.is_finished();
        match self.draining {
            true => Some(End::Drained),
            false => finished.then_some(End::Finished),
        }
    }

    /// Whether one more frame is to be read from the source.
    fn wants_frame(&self) -> bool {
        self.next.is_none() && !self.draining && !self.window.is_full()
    }

    fn can_send(&self) -> bool {
        let fits = |frame| self.window.fits(frame);
        !self.draining && self.next.as_ref().is_some_and(fits)
    }

    /// The message that goes next: a status ahead of frames.
    fn next_message(&mut self) -> Result<EdgeMessage, LinkError> {
        if let Some(status) = self.status.take() {
            self.last_status = Some(status);
            return Ok(EdgeMessage {
                body: Some(Body::Status(status)),
            });
        }
        let mut next = self.next.take();
        if let Some(next) = &mut next {
            self.window.insert(next)?;
            self.source.sent(next.frame.encoded_len(), next.latents);
            self.source.unacknowledged(self.window.len());
        }
        Ok(EdgeMessage {
            body: next.map(|next| Body::Frame(next.frame)),
        })
    }

    fn update_status(&mut self) {
        let mut now = self.source.status();
        now.held_frames = self.link.borrow().held.frames.min(now.spool_frames);
        self.status = (self.last_status != Some(now)).then_some(now);
    }

    /// Reads and prepares the next frame that the cloud can take. Frames that are too large stay in the source.
    async fn read_next(&mut self) -> Result<(), LinkError> {
        self.reads_on = true;
        for _ in 0..SKIPPED_IN_A_ROW {
            let Some(Entry { seq, frame }) = self.source.next_after(self.read_to).await? else {
                self.reads_on = false;
                break;
            };
            self.read_to = seq;
            let fitted = self.capacity.fit(frame).await?;
            if fitted.original_left_out {
                self.source.original_left_out();
            }
            match fitted.too_large {
                Some(reason) => self.skip(&fitted.frame, reason),
                None => {
                    self.next = Some(self.coding.prepare(fitted.frame).await?);
                    break;
                }
            }
        }
        Ok(())
    }

    fn skip(&self, frame: &EncodedFrame, reason: String) {
        let id = limits::frame_id(&frame.frame_id).unwrap_or_default();
        let frames = self.link.borrow().held.frames + 1;
        if frames == 1 {
            tracing::warn!(frame = %id, reason, "a frame is too large for this cloud, it waits in the spool");
        } else {
            tracing::debug!(frame = %id, reason, "a frame is too large for this cloud");
        }
        self.hold(Held {
            frames,
            reason: Some(reason),
        });
    }

    fn hold(&self, held: Held) {
        self.source.held(held.frames);
        self.link.send_modify(|link| link.held = held);
    }

    /// Takes the acks of a message and of those that have come meanwhile, and removes their frames in one go.
    async fn receive(&mut self, message: CloudMessage) -> Result<(), LinkError> {
        let (acks, end) = self.acks(message);
        self.source.unacknowledged(self.window.len());
        if acks.is_empty() {
            return end;
        }
        self.source.acknowledge(&acks).await?;
        self.link
            .send_modify(|link| link.last_ack = Some(Instant::now()));
        for (ack, _) in acks {
            self.report(ack);
        }
        end
    }

    /// The acks that can be read without waiting, and why there will be no more, if so. At most as many as frames were
    /// in flight.
    fn acks(&mut self, mut message: CloudMessage) -> (Vec<(Ack, Duration)>, Result<(), LinkError>) {
        let mut acks = Vec::new();
        loop {
            let ack = match Reply::try_from(message) {
                Ok(Reply::Ack(ack)) => ack,
                Ok(Reply::Drain) => {
                    self.draining = true;
                    return (acks, Ok(()));
                }
                Err(error) => return (acks, Err(error)),
            };
            match self.window.remove(ack.id) {
                Ok(elapsed) => acks.push((ack, elapsed)),
                Err(error) => return (acks, Err(error)),
            }
            message = match self.inbound.message().now_or_never() {
                Some(Ok(Some(message))) => message,
                Some(Ok(None)) => return (acks, Err(LinkError::Closed)),
                Some(Err(status)) => return (acks, Err(status.into())),
                None => return (acks, Ok(())),
            };
        }
    }

    /// Logs a new remark of the cloud, and keeps it.
    fn report(&self, Ack { id, outcome }: Ack) {
        let notice = match outcome {
            Outcome::Accepted { notice } => notice,
            Outcome::Duplicate | Outcome::Rejected { .. } => None,
        };
        self.link.send_if_modified(|link| {
            let changed = link.notice != notice;
            if let Some(notice) = notice.as_ref().filter(|_| changed) {
                tracing::warn!(frame = %id, notice, "the cloud accepted a frame that it cannot decode");
            }
            link.notice = notice;
            changed
        });
    }
}

/// Waits until another hello should be said; forever if the hello never changes.
async fn changed(hello: &mut watch::Receiver<Hello>) {
    if hello.changed().await.is_err() {
        pending().await
    }
}
