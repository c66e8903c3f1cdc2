//! Why a frame is not accepted.

use std::fmt::Display;

use media::DecodeError;

use crate::{metrics::Refusal, spool::SpoolError};

/// Why a frame is not accepted, in one sentence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PipelineError {
    /// The file is not an image that can be decoded, or it is too large.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The encoded frame cannot be stored.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// A fault of the node; the details are in the log.
    #[error("the node failed on this request")]
    Internal,
}

impl PipelineError {
    /// Logs a fault of the node.
    pub(crate) fn internal(error: impl Display) -> Self {
        tracing::error!(%error, "a frame failed");
        Self::Internal
    }

    /// The reason in metrics.
    pub(crate) fn refusal(&self) -> Refusal {
        use DecodeError as D;
        match self {
            Self::Decode(D::NoType | D::Type(_) | D::Mismatch { .. }) => Refusal::UnsupportedType,
            Self::Decode(D::Side(..) | D::Pixels(..) | D::Metadata(_)) => Refusal::TooLarge,
            Self::Decode(_) => Refusal::BadRequest,
            Self::Spool(SpoolError::Full) => Refusal::SpoolFull,
            Self::Spool(SpoolError::Busy) => Refusal::SpoolBusy,
            Self::Spool(SpoolError::TooLarge { .. }) => Refusal::TooLarge,
            Self::Spool(_) | Self::Internal => Refusal::Internal,
        }
    }
}
