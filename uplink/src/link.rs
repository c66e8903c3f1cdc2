//! State of the link to the cloud.

use std::time::Instant;

/// State of the link to the cloud.
#[derive(Clone, Debug, Default)]
pub struct Link {
    /// When the cloud welcomed this node on the open stream; `None` without one.
    pub up_since: Option<Instant>,
    /// Why the last stream ended or could not be opened.
    pub last_error: Option<String>,
    /// When the last ack came.
    pub last_ack: Option<Instant>,
    /// The cloud's remark on the last frame that it accepted, such as that it cannot decode it now.
    pub notice: Option<String>,
    /// Frames in the source that the cloud does not take now.
    pub held: Held,
}

/// Frames that are larger than the cloud takes. They wait in the source for a cloud that takes them.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// Number of frames.
    pub frames: u64,
    /// Why the last of them waits.
    pub reason: Option<String>,
}

/// How a stream ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The cloud asked to drain it, or the hello has changed: another stream follows.
    Drained,
    /// The source is finished.
    Finished,
}
