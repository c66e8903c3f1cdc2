//! The operands of the products of lines.

use crate::operands::{Lanes, Line};

/// The products of a panel's lines with some windows.
pub(crate) struct Call<'a> {
    /// Whether activations and weights are i16.
    pub(crate) words: bool,
    pub(crate) input: *const u8,
    /// Bytes of an activation.
    pub(crate) value: usize,
    /// Each window's first activation.
    pub(crate) windows: &'a [usize],
    /// Bytes from a window to each tap.
    pub(crate) offsets: &'a [u32],
    /// By tap and block.
    pub(crate) lines: &'a [Line],
    pub(crate) starts: &'a [Lanes],
    /// Taps that AVX2 adds in 16 bits.
    pub(crate) runs: &'a [u32],
}
