//! Sixteen numbers of 16 bits, for what follows sums of products.

use crate::operands::{LANES, Lanes};

/// One 16-bit number for each output of a block, in plain code or in registers. All operations give the same on every
/// machine; all are to be inlined into a [`Work`](crate::Work).
pub trait Words: Copy {
    /// Each sum divided by 2^`shift`, rounded down and saturated to 16 bits, then [scaled](Words::scaled) by its own
    /// multiplier. A shift is below 32.
    fn requantized(sums: &Lanes, shift: u32, multipliers: &[i16; LANES]) -> Self;

    /// The numbers of memory.
    fn load(from: &[i16; LANES]) -> Self;

    /// Writes the numbers.
    fn store(self, to: &mut [i16; LANES]);

    /// Each times `multiplier` / 2^15, rounded half up: (value * multiplier + 2^14) >> 15. The multiplier is not
    /// negative.
    fn scaled(self, multiplier: i16) -> Self;

    /// The same, each with its own multiplier.
    fn scaled_each(self, multipliers: &[i16; LANES]) -> Self;

    /// Saturating sums.
    fn plus(self, other: Self) -> Self;

    /// Zero where a number is negative.
    fn relu(self) -> Self;

    /// Writes each number plus `zero`, clamped to 0 to 255.
    fn store_bytes(self, zero: u8, to: &mut [u8; LANES]);
}

/// Code that is compiled for a kernel's instructions.
pub trait Work {
    /// Does it, in these vectors where it has 16-bit numbers; to be marked `#[inline(always)]`, as all that it calls.
    fn run<W: Words>(self);
}

/// Plain code, the reference of all others.
#[derive(Clone, Copy)]
pub(crate) struct Plain([i16; LANES]);

impl Words for Plain {
    #[inline(always)]
    fn requantized(sums: &Lanes, shift: u32, multipliers: &[i16; LANES]) -> Self {
        let shifted = |sum: i32| (sum >> shift).clamp(i16::MIN.into(), i16::MAX.into()) as i16;
        Self(sums.0.map(shifted)).scaled_each(multipliers)
    }

    #[inline(always)]
    fn load(from: &[i16; LANES]) -> Self {
        Self(*from)
    }

    #[inline(always)]
    fn store(self, to: &mut [i16; LANES]) {
        *to = self.0;
    }

    #[inline(always)]
    fn scaled(self, multiplier: i16) -> Self {
        self.scaled_each(&[multiplier; LANES])
    }

    #[inline(always)]
    fn scaled_each(self, multipliers: &[i16; LANES]) -> Self {
        let scaled = |lane: usize| {
            let product = i32::from(self.0[lane]) * i32::from(multipliers[lane]);
            ((product + (1 << 14)) >> 15) as i16
        };
        Self(std::array::from_fn(scaled))
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        let plus = |lane: usize| self.0[lane].saturating_add(other.0[lane]);
        Self(std::array::from_fn(plus))
    }

    #[inline(always)]
    fn relu(self) -> Self {
        Self(self.0.map(|value| value.max(0)))
    }

    #[inline(always)]
    fn store_bytes(self, zero: u8, to: &mut [u8; LANES]) {
        *to = (self.0).map(|value| value.saturating_add(zero.into()).clamp(0, 255) as u8);
    }
}
