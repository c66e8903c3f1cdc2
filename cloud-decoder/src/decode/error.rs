//! Errors of a decoding.

use super::registry::NoDecoder;
use crate::store::{ReadError, objects::ObjectError};

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Objects(#[from] ObjectError),
    #[error(transparent)]
    NoDecoder(#[from] NoDecoder),
    #[error(transparent)]
    Network(#[from] purenet::DecodeError),
    #[error(transparent)]
    Quality(#[from] quality::QualityError),
    #[error("original does not decode: {0}")]
    Original(super::picture::ReadError),
    #[error("reconstruction cannot be written: {0}")]
    Write(#[from] super::picture::WriteError),
    #[error("decoder panicked")]
    Panic,
    #[error("the process ended {0} times in a row while it decoded this frame alone")]
    Lethal(u32),
    #[error("the service is shutting down")]
    Stopped,
}

impl DecodeError {
    /// Whether a disk or a server failed, which is not the frame's fault.
    pub(super) fn is_of_storage(&self) -> bool {
        matches!(self, Self::Objects(_) | Self::Read(ReadError::Objects(_)))
    }

    /// Whether a further attempt would fail in the same way.
    pub(super) fn is_final(&self) -> bool {
        matches!(
            self,
            Self::NoDecoder(_) | Self::Lethal(_) | Self::Read(ReadError::Damaged)
        )
    }
}
