//! Lowering: from a checked description and its tensors to a network that is packed for an engine.

use crate::engine::Engine;
use crate::error::ModelError;
use crate::file::File;
use crate::layout::Layout;
use crate::shape::Shape;
use crate::stages::{Conv, Stage, StageLayout, Synthesis};
use crate::weights::Weights;

/// A loaded network.
pub(crate) struct Network<E: Engine> {
    pub(crate) program: [u8; 32],
    pub(crate) synthesis: Synthesis<E>,
    /// The stages between the first and the tail.
    pub(crate) stages: Vec<Box<dyn Stage<E>>>,
    /// Output shape of the first stage, then of each of `stages`.
    pub(crate) shapes: Vec<Shape>,
    /// Makes the frame's pixels of the last shape, unless they are that shape's values.
    pub(crate) tail: Option<Tail<E::Conv>>,
    /// Factor of the skip connection from the first stage to the frame.
    pub(crate) base: Option<usize>,
    pub(crate) parameters: u64,
    pub(crate) macs_per_patch: u64,
}

/// The last convolution. The pixels that a pixel shuffle after it would spread are read where they are.
pub(crate) struct Tail<C> {
    pub(crate) layer: C,
    pub(crate) relu: bool,
    /// Pixels along the side of a position, in the order that a sorted convolution gives them.
    pub(crate) pixels: usize,
}

impl<E: Engine> Network<E> {
    pub(crate) fn load(bytes: &[u8]) -> Result<Self, ModelError> {
        let File {
            program,
            layout,
            tensors,
        } = File::open(bytes)?;
        let mut shapes = layout.shapes()?;
        let mut weights = Weights::new(tensors);
        let label = layout.stages[0].label(0);
        let synthesis = layout.first().lower(&label, &mut weights)?;
        let tail = last_conv(&layout);
        let end = tail.map_or(layout.stages.len(), |(index, ..)| index);
        let mut stages = Vec::with_capacity(end);
        for (index, stage) in layout.stages.iter().enumerate().take(end).skip(1) {
            let place = layout.place(index, shapes[index]);
            stages.push(stage.lower(&place, &mut weights)?);
        }
        let lower = |(index, conv, pixels): (usize, &Conv, usize)| {
            let place = layout.place(index, shapes[index]);
            let layer = conv.layer::<E>(&place, &mut weights)?;
            let relu = conv.relu;
            Ok::<_, ModelError>(Tail {
                layer,
                relu,
                pixels,
            })
        };
        let tail = tail.map(lower).transpose()?;
        weights.all_taken()?;
        shapes.truncate(end);
        Ok(Self {
            program,
            synthesis,
            stages,
            shapes,
            tail,
            base: layout.base.map(|base| base.factor),
            parameters: weights.parameters,
            macs_per_patch: weights.macs_per_patch,
        })
    }
}

/// The convolution that makes the frame's pixels, if one does: its index, and the factor of the pixel shuffle after it,
/// or 1.
fn last_conv(layout: &Layout) -> Option<(usize, &Conv, usize)> {
    let count = layout.stages.len();
    match &layout.stages[..] {
        [
            ..,
            StageLayout::Conv(conv),
            StageLayout::PixelShuffle(shuffle),
        ] => Some((count - 2, conv, shuffle.factor)),
        [.., StageLayout::Conv(conv)] => Some((count - 1, conv, 1)),
        _ => None,
    }
}
