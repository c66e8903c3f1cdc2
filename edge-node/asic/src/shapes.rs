//! Shapes of feature maps, convolutions and poolings.

use crate::chip::PATCH;
use crate::kinds::{Element, OutputKind, WeightKind};

/// A feature map's shape; elements are in height-width-channel order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map {
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
    /// Channels.
    pub channels: u32,
    /// Kind of the elements.
    pub element: Element,
}

impl Map {
    /// The map that every program takes: one patch of RGB pixels.
    pub const INPUT: Map = Map {
        height: PATCH as u32,
        width: PATCH as u32,
        channels: 3,
        element: Element::Pixel,
    };

    /// Elements of the map. At most (32 + 64 * 32)^2 * 4096 in any program, so 64 bits hold it.
    pub fn count(&self) -> u64 {
        u64::from(self.height) * u64::from(self.width) * u64::from(self.channels)
    }

    /// Bits the map takes on the chip.
    pub fn bits(&self) -> u64 {
        self.count() * u64::from(self.element.bits())
    }
}

/// A convolution without its numbers. The ranges are those of [`format`](mod@crate::format).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvSpec {
    /// Output channels, 1 to 4096.
    pub out_channels: u32,
    /// Kernel rows, 1 to 32.
    pub kernel_height: u32,
    /// Kernel columns, 1 to 32.
    pub kernel_width: u32,
    /// Step in both directions, 1 to 32.
    pub stride: u32,
    /// Zeros on all four sides, 0 to 16.
    pub padding: u32,
    /// Groups, a divisor of input and output channels.
    pub groups: u32,
    /// The weights' set.
    pub weights: WeightKind,
    /// The output made of the accumulators.
    pub output: OutputKind,
    /// Codes: right shift before the clamp, 0 to 31. Logits: see [`Program::score_shift`](crate::Program::score_shift).
    /// 0 for latent bits.
    pub shift: u32,
    /// Bits of a stored bias, 1 to 32.
    pub bias_bits: u32,
}

/// A square max pooling without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Side of the window, 1 to 32.
    pub kernel: u32,
    /// Step in both directions, 1 to 32.
    pub stride: u32,
}
