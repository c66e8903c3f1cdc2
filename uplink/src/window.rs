//! The window: frames that were sent and are not acknowledged.

use std::{collections::HashMap, time::Duration};

use daemon::{boot::SPANS, trace};
use patchwire_proto::limits;
use tokio::time::Instant;
use tracing::{Span, info_span};
use uuid::Uuid;

use crate::{coding::Ready, error::LinkError};

/// A cloud that acknowledges nothing for this long counts as down.
const ACK_TIMEOUT: Duration = Duration::from_secs(60);
/// The slowest link worth using, 16 kbit/s: the timeout grows by the time that the window's bytes take on it.
const SLOWEST_BYTES_PER_S: usize = 2000;

/// Frames that were sent and are not acknowledged, bounded in number and in bytes.
pub(crate) struct Window {
    max_frames: usize,
    /// Most bytes with all latents in containers, so that memory is bounded; a single frame may have more.
    max_bytes: usize,
    frames: HashMap<Uuid, Sent>,
    bytes: usize,
    last_progress: Instant,
}

struct Sent {
    at: Instant,
    bytes: usize,
    /// Held until the ack.
    _span: Span,
}

impl Window {
    pub(crate) fn new(max_frames: usize, max_bytes: usize) -> Self {
        Self {
            max_frames,
            max_bytes,
            frames: HashMap::new(),
            bytes: 0,
            last_progress: Instant::now(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.frames.len() >= self.max_frames
    }

    /// Number of frames in the window.
    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether a frame can be sent now.
    pub(crate) fn fits(&self, frame: &Ready) -> bool {
        let bytes = self.bytes + frame.plain_bytes;
        self.is_empty() || (!self.is_full() && bytes <= self.max_bytes)
    }

    /// Puts a frame into the window. The frame's trace continues in a span that
    /// lasts until the ack.
    ///
    /// # Errors
    /// The frame's id is not valid.
    pub(crate) fn insert(&mut self, ready: &mut Ready) -> Result<(), LinkError> {
        let frame = &mut ready.frame;
        let id = limits::frame_id(&frame.frame_id)
            .map_err(|error| LinkError::Protocol(format!("spooled {error}")))?;
        let at = Instant::now();
        if self.is_empty() {
            self.last_progress = at;
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
        self.bytes += ready.plain_bytes;
        let sent = Sent {
            at,
            bytes: ready.plain_bytes,
            _span: span,
        };
        self.frames.insert(id, sent);
        Ok(())
    }

    /// Removes an acknowledged frame and returns the time since it was sent.
    ///
    /// # Errors
    /// The frame is not in the window.
    pub(crate) fn remove(&mut self, id: Uuid) -> Result<Duration, LinkError> {
        let sent = self.frames.remove(&id).ok_or_else(|| {
            LinkError::Protocol(format!("it acknowledged {id}, which is not in flight"))
        })?;
        self.bytes -= sent.bytes;
        self.last_progress = Instant::now();
        Ok(sent.at.elapsed())
    }

    /// When the next ack is overdue, and the timeout that this is.
    pub(crate) fn deadline(&self) -> (Instant, Duration) {
        let transfer = Duration::from_secs((self.bytes / SLOWEST_BYTES_PER_S) as u64);
        let timeout = ACK_TIMEOUT + transfer;
        (self.last_progress + timeout, timeout)
    }
}
