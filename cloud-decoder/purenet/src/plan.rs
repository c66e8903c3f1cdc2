//! How much of a frame is computed at once, and the memory that this takes.

use crate::limits::PATCH;
use crate::maps::{Forms, Map};
use crate::network::Network;
use crate::rows::Rows;
use crate::shape::Shape;

/// Patches that the first stage computes at once, unless one row has more.
const PATCHES_AHEAD: usize = 512;

/// Multiply-accumulates of the rows of patches that pass the stages in one step, about.
const MACS_PER_STEP: u64 = 1 << 28;

/// How a frame of one size passes through a network.
pub(crate) struct Plan {
    /// Patches along the frame's sides.
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Rows of patches that the first stage computes at once. Its weights are the most by far, so each that is loaded
    /// should meet many patches.
    pub(crate) rows_ahead: usize,
    /// Rows of patches that pass each other stage in one step: enough for its weights and for the threads that share
    /// the work.
    pub(crate) rows_per_step: usize,
    /// Rows of the frame that wait for the last stage, which lags by the sum of all stages' lags.
    frame_rows: usize,
}

impl Plan {
    pub(crate) fn new(network: &Network, rows: usize, columns: usize) -> Self {
        let rows_ahead = (PATCHES_AHEAD / columns).max(1);
        let rows_per_step = MACS_PER_STEP / (network.macs_per_patch * columns as u64);
        let rows_per_step = (rows_per_step as usize).clamp(1, rows_ahead.min(rows));
        let stages = network.stages.iter().zip(&network.shapes);
        let lags = stages.map(|(stage, shape)| stage.lag() * PATCH / shape.side);
        let tail = network.tail.layer.lag() * network.tail.shuffle;
        Self {
            rows,
            columns,
            rows_ahead,
            rows_per_step,
            frame_rows: (1 + rows_per_step) * PATCH + lags.sum::<usize>() + tail,
        }
    }

    /// A map of this shape with room for the rows of one step and one more row of patches, and for those that two
    /// layers wait for.
    pub(crate) fn map(&self, shape: Shape, forms: Forms) -> Map {
        Map::new(shape, (self.rows, self.columns), self.room(shape), forms)
    }

    /// The frame that the first stage alone gives, where it waits for the others.
    pub(crate) fn base(&self) -> Rows<i16> {
        let frame = (self.rows, self.columns);
        Rows::new(Shape::FRAME, frame, self.frame_rows, 0)
    }

    /// Bytes of the feature maps that the frame takes.
    pub(crate) fn map_bytes(&self, network: &Network) -> usize {
        let frame = (self.rows, self.columns);
        let map = |(shape, forms)| Map::held(shape, frame, self.room(shape), forms);
        let maps: usize = network
            .shapes
            .iter()
            .copied()
            .zip(network.forms())
            .map(map)
            .sum();
        let inner: usize = network.inner().flatten().map(map).sum();
        let base = (network.base).map(|_| Rows::<i16>::bytes(Shape::FRAME, frame, self.frame_rows));
        // Bytes are finished at once, unless a base is to be added.
        let value = base.map_or(size_of::<u8>(), |_| size_of::<i16>());
        let finished = self.frame_rows * self.columns * PATCH * Shape::FRAME.channels * value;
        let first = self.rows.min(self.rows_ahead) * self.columns * network.synthesis.held();
        maps + inner + base.unwrap_or(0) + finished + first
    }

    fn room(&self, shape: Shape) -> usize {
        (1 + self.rows_per_step) * shape.side + 16
    }
}
