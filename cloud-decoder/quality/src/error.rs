//! Why a metric could not be computed.

/// Why a metric could not be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QualityError {
    /// A side is zero.
    #[error("image of {width} x {height} pixels is empty, sides must be at least 1")]
    Empty {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// The bytes of an image do not match its size.
    #[error(
        "{image} image of {width} x {height} pixels has {actual} bytes, RGB needs width * height * 3"
    )]
    Length {
        /// Which argument: `first`, `second` or `only`.
        image: &'static str,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Bytes given.
        actual: usize,
    },
    /// The patch side of the seam ratio is too small to have an inside.
    #[error("patch side of {patch} pixels, must be at least 2")]
    Patch {
        /// Side in pixels.
        patch: u32,
    },
}
