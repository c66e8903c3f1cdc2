//! One welcomed stream and the window of what is on its way.

use std::{collections::HashMap, time::Duration};

use daemon::{boot::SPANS, trace};
use futures::FutureExt as _;
use patchwire_proto::{
    limits,
    v1::{CloudMessage, EncodedFrame},
};
use prost::Message as _;
use tokio::time;
use tonic::Streaming;
use tracing::{Span, info_span};
use uuid::Uuid;

use super::{
    link::LinkError,
    reply::{Reply, Verdict},
};

/// A cloud that acknowledges nothing for this long is given up and called again,
const ACK_TIMEOUT: Duration = Duration::from_secs(60);
/// longer by the time that what is on its way takes on the slowest link worth using, 16 kbit/s.
const SLOWEST_BYTES_PER_S: usize = 2000;

/// A welcomed stream's way down and what is on its way up.
pub(super) struct Session {
    pub(super) inbound: Streaming<CloudMessage>,
    pub(super) window: usize,
    pub(super) max_message_bytes: usize,
    /// Largest frame that the cloud takes.
    pub(super) max_pixels: u64,
    pub(super) takes_status: bool,
    pub(super) takes_camera_originals: bool,
    pub(super) in_flight: HashMap<Uuid, Sent>,
    pub(super) in_flight_bytes: usize,
    pub(super) last_progress: time::Instant,
    /// The cloud wants no more frames on this stream.
    pub(super) draining: bool,
    /// More frames may follow behind those that do not fit.
    pub(super) passing: bool,
}

/// A frame on its way.
pub(super) struct Sent {
    at: time::Instant,
    bytes: usize,
    /// Held until the ack.
    _span: Span,
}

impl Session {
    /// Whether one more frame may be made ready.
    pub(super) fn takes_more(&self) -> bool {
        !self.draining && self.in_flight.len() < self.window
    }

    /// Whether the window has room: in frames, and in bytes for what memory it takes.
    pub(super) fn fits(&self, frame: &EncodedFrame) -> bool {
        self.takes_more()
            && (self.in_flight.is_empty()
                || self.in_flight_bytes + frame.encoded_len() <= self.max_message_bytes)
    }

    /// Why the cloud does not take a frame, whatever it leaves behind, if so.
    pub(super) fn too_wide(&self, frame: &EncodedFrame) -> Option<String> {
        let (pixels, most) = (
            u64::from(frame.width) * u64::from(frame.height),
            self.max_pixels,
        );
        let told = || format!("it has {pixels} pixels, more than the {most} that the cloud takes");
        (pixels > most).then(told)
    }

    /// Why the cloud does not take a message, if so.
    pub(super) fn too_long(&self, bytes: usize) -> Option<String> {
        let most = self.max_message_bytes;
        let told = || format!("its message of {bytes} bytes is larger than the {most} allowed");
        (bytes > most).then(told)
    }

    /// Puts a frame into the window, and tells its bytes. Its trace goes on from the span that lasts until its ack.
    pub(super) fn departs(&mut self, frame: &mut EncodedFrame) -> Result<usize, LinkError> {
        let id = limits::frame_id(&frame.frame_id)
            .map_err(|error| LinkError::Protocol(format!("spooled {error}")))?;
        let now = time::Instant::now();
        if self.in_flight.is_empty() {
            self.last_progress = now;
        }
        let span = if frame.traceparent.is_empty() {
            Span::none()
        } else {
            info_span!(target: SPANS, parent: None, "deliver frame", otel.kind = "producer", frame = %id)
        };
        trace::continues(&span, &frame.traceparent);
        let own = trace::traceparent(&span);
        if !own.is_empty() {
            frame.traceparent = own;
        }
        let bytes = frame.encoded_len();
        self.in_flight_bytes += bytes;
        let sent = Sent {
            at: now,
            bytes,
            _span: span,
        };
        self.in_flight.insert(id, sent);
        Ok(bytes)
    }

    /// The acks of the message and of those that have come meanwhile, each with the time when its frame was sent, and
    /// why there will be no more, if so. As many as were in flight at most.
    pub(super) fn acks(
        &mut self,
        mut message: CloudMessage,
    ) -> (Vec<(Verdict, time::Instant)>, Result<(), LinkError>) {
        let mut acks = Vec::new();
        loop {
            let verdict = match Reply::try_from(message) {
                Ok(Reply::Verdict(verdict)) => verdict,
                Ok(Reply::Drain) => {
                    self.draining = true;
                    return (acks, Ok(()));
                }
                Err(error) => return (acks, Err(error)),
            };
            match self.arrived(verdict.id) {
                Ok(sent) => acks.push((verdict, sent)),
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

    /// Takes an acknowledged frame out of the window, and tells when it was sent.
    fn arrived(&mut self, id: Uuid) -> Result<time::Instant, LinkError> {
        let sent = self.in_flight.remove(&id).ok_or_else(|| {
            LinkError::Protocol(format!("it acknowledged {id}, which is not in flight"))
        })?;
        self.in_flight_bytes -= sent.bytes;
        self.last_progress = time::Instant::now();
        Ok(sent.at)
    }

    /// When the next ack is overdue, and after how long.
    pub(super) fn deadline(&self) -> (time::Instant, Duration) {
        let transfer = Duration::from_secs((self.in_flight_bytes / SLOWEST_BYTES_PER_S) as u64);
        let patience = ACK_TIMEOUT + transfer;
        (self.last_progress + patience, patience)
    }
}
