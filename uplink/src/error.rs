//! Why a stream ends.

use std::{error::Error, time::Duration};

use daemon::{error::root_cause, files::FileError};
use tonic::Code;

/// Why frames cannot be read, or acks not be recorded.
pub type SourceError = Box<dyn Error + Send + Sync>;

/// Why a stream ended or could not be opened, in one sentence.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No connection.
    #[error("cannot reach the cloud: {}", root_cause(.0))]
    Connect(#[from] tonic::transport::Error),
    /// The cloud ended the stream, or the connection broke.
    #[error("{}", describe(.0))]
    Status(#[from] tonic::Status),
    /// The connection broke early. With TLS 1.3 a client hears only then that its certificate was not accepted.
    #[error(
        "the connection broke before the cloud's welcome, as where the cloud does not accept this node's certificate \
         (uplink.tls.cert): {}",
        root_cause(.0)
    )]
    BeforeWelcome(tonic::Status),
    /// The cloud closed the stream without an error.
    #[error("the cloud closed the stream")]
    Closed,
    /// No welcome in time.
    #[error("the cloud did not welcome this node within {0:?}")]
    NoWelcome(Duration),
    /// A message that the protocol does not allow.
    #[error("the cloud broke the protocol: {0}")]
    Protocol(String),
    /// A thread that re-encodes originals failed.
    #[error("an original could not be made lossless")]
    Original,
    /// A thread that codes latents failed.
    #[error("the latents of a frame could not be coded")]
    Codec,
    /// No ack in time.
    #[error("the cloud acknowledged nothing for {0:?}")]
    Stalled(Duration),
    /// A certificate or token cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// Frames cannot be read, or acks not be recorded.
    #[error("{0}")]
    Source(#[from] SourceError),
}

impl LinkError {
    /// Whether a frame could not be coded, or the cloud refused what this side sent, rather than that the cloud or the
    /// link was gone.
    pub(crate) fn is_refusal(&self) -> bool {
        let refusals = [Code::DataLoss, Code::InvalidArgument, Code::Internal];
        match self {
            Self::Codec => true,
            Self::Status(status) => refusals.contains(&status.code()),
            _ => false,
        }
    }

    /// The error for a status that came before the welcome.
    pub(crate) fn before_welcome(status: tonic::Status) -> Self {
        match is_broken(&status) {
            true => Self::BeforeWelcome(status),
            false => status.into(),
        }
    }
}

fn describe(status: &tonic::Status) -> String {
    match is_broken(status) {
        true => format!("the connection to the cloud broke: {}", root_cause(status)),
        false => format!("the cloud ended the stream: {}", status.message()),
    }
}

/// Whether a status was made on this side because the connection broke, and not sent by the cloud.
fn is_broken(status: &tonic::Status) -> bool {
    status.source().is_some()
}
