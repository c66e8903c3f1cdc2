//! How much of a frame is computed at once, and the memory that this takes.

use crate::engine::{Convolution, Engine};
use crate::limits::PATCH;
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
    pub(crate) fn new<E: Engine>(network: &Network<E>, rows: usize, columns: usize) -> Self {
        let rows_ahead = (PATCHES_AHEAD / columns).max(1);
        let rows_per_step = MACS_PER_STEP / (network.macs_per_patch * columns as u64);
        let rows_per_step = (rows_per_step as usize).clamp(1, rows_ahead.min(rows));
        let stages = network.stages.iter().zip(&network.shapes[1..]);
        let lags = stages.map(|(stage, shape)| stage.lag() * PATCH / shape.side);
        let tail = network.tail.as_ref();
        let tail = tail.map(|tail| tail.layer.lag() * tail.pixels);
        Self {
            rows,
            columns,
            rows_ahead,
            rows_per_step,
            frame_rows: (1 + rows_per_step) * PATCH + lags.chain(tail).sum::<usize>(),
        }
    }

    /// A map of this shape with room for the rows of one step and one more row of patches, and for those that two
    /// layers wait for.
    pub(crate) fn map<E: Engine>(&self, shape: Shape) -> Rows<E::Value> {
        Rows::new(shape, self.rows, self.columns, self.room(shape))
    }

    /// The frame that the first stage alone gives, where it waits for the others.
    pub(crate) fn base(&self) -> Rows<f32> {
        Rows::new(Shape::FRAME, self.rows, self.columns, self.frame_rows)
    }

    /// Bytes of the feature maps that the frame takes.
    pub(crate) fn map_bytes<E: Engine>(&self, network: &Network<E>) -> usize {
        let (rows, columns) = (self.rows, self.columns);
        let map = |shape| Rows::<E::Value>::bytes(shape, rows, columns, self.room(shape));
        let maps: usize = network.shapes.iter().copied().map(map).sum();
        let inner: usize = inner_shapes(network).flatten().map(map).sum();
        let base = (network.base)
            .map(|_| Rows::<f32>::bytes(Shape::FRAME, rows, columns, self.frame_rows));
        // Bytes are finished at once, unless a base is to be added.
        let value = base.map_or(size_of::<u8>(), |_| size_of::<f32>());
        let finished = self.frame_rows * columns * PATCH * Shape::FRAME.channels * value;
        let patch = network.synthesis.values_held(network.shapes[0]);
        let first = rows.min(self.rows_ahead) * columns * patch * size_of::<f32>();
        maps + inner + base.unwrap_or(0) + finished + first
    }

    fn room(&self, shape: Shape) -> usize {
        (1 + self.rows_per_step) * shape.side + 16
    }
}

/// Shape of the map that each stage keeps between its input and its output, if it has one.
pub(crate) fn inner_shapes<E: Engine>(
    network: &Network<E>,
) -> impl Iterator<Item = Option<Shape>> + '_ {
    let stages = network.stages.iter().zip(&network.shapes[1..]);
    stages.map(|(stage, &shape)| stage.inner(shape))
}
