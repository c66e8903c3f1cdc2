//! The operands of the dot products.

use crate::kinds::Element;

/// Output channels computed together.
pub(crate) const LANES: usize = 16;
/// Positions computed together at most.
pub(crate) const TILE: usize = 8;
/// Blocks of lanes computed together at most.
pub(crate) const BLOCKS: usize = 2;

/// Largest weight and largest code.
#[cfg(target_arch = "x86_64")]
const MAX_WEIGHT: i16 = 2;
#[cfg(target_arch = "x86_64")]
const MAX_CODE: u8 = 3;

/// Weights of 16 output channels for four consecutive input channels, channel by channel: one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [i8; 4 * LANES]);

/// Accumulators of 16 output channels.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Lanes(pub(crate) [i32; LANES]);

/// Where a window's 4-byte groups of activations lie, from the window's first byte.
#[derive(Debug)]
pub(crate) struct Taps {
    pub(super) offsets: Vec<u32>,
    pub(super) reach: usize,
    /// The activations are bytes of any value, not codes of 2 bits.
    pub(super) pixels: bool,
}

/// Offset that is subtracted from each pixel.
const PIXEL_OFFSET: i32 = if cfg!(target_arch = "aarch64") {
    128
} else {
    0
};

impl Taps {
    pub(crate) fn new(offsets: Vec<u32>, element: Element) -> Self {
        let reach = offsets.iter().max().map_or(0, |&last| last as usize + 4);
        Self {
            offsets,
            reach,
            pixels: element == Element::Pixel,
        }
    }

    /// Start values of each block's sums: the biases, corrected for the offset that is subtracted from pixels. Weights
    /// are as for [`Simd::dot`](super::Simd::dot).
    pub(crate) fn starts(&self, weights: &[Line], mut biases: Vec<Lanes>) -> Vec<Lanes> {
        if self.pixels {
            for (starts, lines) in biases.iter_mut().zip(weights.chunks(self.len().max(1))) {
                for line in lines {
                    let (fours, _) = line.0.as_chunks::<4>();
                    for (start, four) in starts.0.iter_mut().zip(fours) {
                        *start += PIXEL_OFFSET * four.iter().copied().map(i32::from).sum::<i32>();
                    }
                }
            }
        }
        biases
    }

    pub(crate) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Taps whose sums of two products, of weights up to [`MAX_WEIGHT`], fit 16 bits together.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn run(&self) -> usize {
        const fn fit(activation: u8) -> usize {
            (i16::MAX / (2 * activation as i16 * MAX_WEIGHT)) as usize
        }
        if self.pixels {
            const { fit(u8::MAX) }
        } else {
            const { fit(MAX_CODE) }
        }
    }
}

/// Plain loops that the compiler turns into vector instructions.
pub(crate) trait Work {
    /// To be marked `#[inline(always)]`, like everything that it calls: only inlined code is compiled for the
    /// instructions.
    fn run(self);
}
