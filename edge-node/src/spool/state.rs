//! States of frames and of the queue.

use serde::Serialize;
use utoipa::ToSchema;

/// Frames that wait for the cloud.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Backlog {
    /// Number of frames.
    pub frames: u64,
    /// Bytes of their messages.
    pub bytes: u64,
}

/// State of a frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum FrameState {
    /// On disk here, not acknowledged yet.
    Spooled,
    /// Acknowledged by the cloud.
    Delivered,
    /// Acknowledged by the cloud, which had it already.
    Duplicate,
    /// Rejected by the cloud, kept in quarantine.
    Rejected {
        /// The cloud's sentence.
        reason: String,
    },
    /// Lost here.
    Dropped {
        /// Why.
        reason: String,
    },
}
