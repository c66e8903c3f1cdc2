//! The operands of a multiplication of tiles.
#![cfg_attr(
    not(all(target_arch = "x86_64", target_os = "linux")),
    allow(dead_code, reason = "read by the instructions alone")
)]

use crate::operands::Lanes;

/// Rows of a tile: windows.
pub(crate) const ROWS: usize = 16;
/// Bytes of a tile's row.
pub(crate) const DEPTH: usize = 64;
/// Tiles of outputs that are computed together.
pub(crate) const BLOCKS: usize = 2;
/// Most runs of a window.
pub(crate) const MOST_RUNS: usize = 32;

/// A row of a tile of weights: four bytes of depth of 16 outputs.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Row(pub(crate) [i8; DEPTH]);

/// The weights of a panel.
#[derive(Debug)]
pub(crate) struct Weights {
    /// Tiles along a run.
    pub(crate) steps: usize,
    /// By run and step, a tile for each block.
    pub(crate) rows: Vec<Row>,
    /// What the sums of each output start from.
    pub(crate) starts: [Lanes; BLOCKS],
}

/// Two tiles of windows: the bytes from where runs begin, and the first window of each, whose sums it gives.
#[derive(Clone, Copy)]
pub(crate) struct Pair {
    pub(crate) at: [usize; 2],
    pub(crate) first: [usize; 2],
}
