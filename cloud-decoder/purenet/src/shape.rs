//! Shapes of feature maps.

use crate::limits::PATCH;

/// Shape of a feature map, per patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Positions along the side of a patch.
    pub(crate) side: usize,
    pub(crate) channels: usize,
}

impl Shape {
    /// A frame: red, green and blue of each pixel.
    pub(crate) const FRAME: Self = Self {
        side: PATCH,
        channels: 3,
    };

    /// Values per patch.
    pub(crate) fn values(self) -> usize {
        self.side * self.side * self.channels
    }

    /// Pixels of the frame along the side of a position.
    pub(crate) fn pixels(self) -> usize {
        PATCH / self.side
    }
}
