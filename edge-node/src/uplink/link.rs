//! What is known about the link, and why it may end.

use std::time::{Duration, Instant};

use daemon::files::FileError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::spool::SpoolError;

/// What is known about the link.
#[derive(Clone, Debug, Default)]
pub struct Link {
    /// Since when the cloud has welcomed this node and the stream stands.
    pub up_since: Option<Instant>,
    /// Why the last stream ended or did not start.
    pub last_error: Option<String>,
    /// When the last ack came.
    pub last_ack: Option<Instant>,
    /// What the cloud last said about a frame that it took and cannot decode for now; `None` after one that it can.
    pub notice: Option<String>,
    /// Frames in the spool that the cloud does not take now.
    pub held: Held,
}

/// Frames that are larger than the cloud takes. They wait in the spool for one that takes them.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// How many.
    pub frames: u64,
    /// Why the last one of them waits.
    pub reason: Option<String>,
}

/// The link as it is shown to people.
#[derive(Debug, Serialize, ToSchema)]
pub struct LinkStatus {
    /// Whether the cloud has welcomed this node and the stream stands.
    pub connected: bool,
    /// Seconds since the last ack.
    pub last_ack_age_s: Option<f64>,
    /// Why the last stream ended or did not start.
    pub last_error: Option<String>,
    /// Why the cloud cannot decode the last frame that it took, if so.
    pub notice: Option<String>,
    /// Frames in the spool that are larger than the cloud takes; they wait for one that takes them.
    pub held_frames: u64,
    /// Why the last one of them waits.
    pub held_reason: Option<String>,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum LinkError {
    #[error("cannot reach the cloud: {}", root(.0))]
    Connect(#[from] tonic::transport::Error),
    #[error("{}", told(.0))]
    Status(#[from] tonic::Status),
    #[error(
        "the connection broke before the cloud's welcome, as where the cloud does not accept this node's certificate \
         (uplink.tls.cert): {}",
        root(.0)
    )]
    Unwelcome(tonic::Status),
    #[error("the cloud closed the stream")]
    Closed,
    #[error("the cloud did not welcome this node within {0:?}")]
    NoWelcome(Duration),
    #[error("the cloud broke the protocol: {0}")]
    Protocol(String),
    #[error("an original could not be made lossless")]
    Original,
    #[error("the cloud acknowledged nothing for {0:?}")]
    Stalled(Duration),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl Link {
    /// For people.
    pub fn status(&self) -> LinkStatus {
        LinkStatus {
            connected: self.up_since.is_some(),
            last_ack_age_s: self.last_ack.map(|at| at.elapsed().as_secs_f64()),
            last_error: self.last_error.clone(),
            notice: self.notice.clone(),
            held_frames: self.held.frames,
            held_reason: self.held.reason.clone(),
        }
    }
}

/// A status that the cloud sent, or one that stands for a connection that broke.
fn told(status: &tonic::Status) -> String {
    match broke(status) {
        true => format!("the connection to the cloud broke: {}", root(status)),
        false => format!("the cloud ended the stream: {}", status.message()),
    }
}

/// Whether a status was made here, because the connection broke.
pub(super) fn broke(status: &tonic::Status) -> bool {
    std::error::Error::source(status).is_some()
}

/// The innermost cause: what surrounds it says "transport error".
fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
