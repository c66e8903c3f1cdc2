//! A decoded picture and the bounds on its size.

/// An RGB picture.
#[derive(Debug)]
pub struct Picture {
    /// Red, green, blue, row by row: width * height * 3 bytes.
    pub rgb: Vec<u8>,
    /// In pixels, at least 1.
    pub width: u32,
    /// In pixels, at least 1.
    pub height: u32,
    /// Format of the file and name of its decoder; `raw` for raw RGB.
    pub source_format: &'static str,
}

/// Bounds on a picture's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest side in pixels.
    pub max_side: u32,
    /// Most pixels.
    pub max_pixels: u64,
}

impl Limits {
    /// No bounds, for files that were checked before.
    pub const NONE: Self = Self {
        max_side: u32::MAX,
        max_pixels: u64::MAX,
    };
}
