//! Why a JPEG is not decoded.

/// Why a JPEG is not decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JpegError {
    /// The file ends before the picture is described.
    #[error("JPEG is truncated: {0}")]
    Truncated(&'static str),
    /// The picture's data end early or have a fault.
    #[error("JPEG is truncated or damaged: {0}")]
    Data(String),
    /// An impossible header.
    #[error("JPEG is damaged: {0}")]
    Damaged(&'static str),
    /// A kind of JPEG that is not decoded.
    #[error("JPEG with {0} is not supported")]
    Unsupported(String),
}
