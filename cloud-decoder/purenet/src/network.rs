//! Lowering: from a checked description and its tensors to a network of packed layers.

use kernels::Simd;
use sha2::{Digest, Sha256};

use crate::error::ModelError;
use crate::file::File;
use crate::layout::Layout;
use crate::maps::Forms;
use crate::shape::Shape;
use crate::stages::{Lower, LoweredConv, Stage, StageLayout};
use crate::synthesis::Synthesis;
use crate::tensors::Tensors;

/// A loaded network.
pub(crate) struct Network {
    pub(crate) id: [u8; 32],
    pub(crate) program: [u8; 32],
    pub(crate) simd: Simd,
    /// Bits per patch that can be decoded, increasing; the last is all of them.
    pub(crate) rates: Vec<u32>,
    pub(crate) synthesis: Synthesis,
    /// The stages between the first and the tail.
    pub(crate) stages: Vec<Box<dyn Stage>>,
    /// Output shape of the first stage, then of each of `stages`.
    pub(crate) shapes: Vec<Shape>,
    /// The last convolution, which makes the frame's pixels.
    pub(crate) tail: LoweredConv,
    /// Factor of the skip connection from the first stage to the frame.
    pub(crate) base: Option<usize>,
    pub(crate) parameters: u64,
    pub(crate) macs_per_patch: u64,
}

impl Network {
    pub(crate) fn load(bytes: &[u8], simd: Simd) -> Result<Self, ModelError> {
        let File {
            program,
            layout,
            tensors,
        } = File::open(bytes)?;
        let all = layout.shapes()?;
        let mut tensors = Tensors::new(tensors);
        let first = layout.first();
        let synthesis = first.lower(simd, &layout.stages[0].label(0), &mut tensors)?;
        let (last, tail) = last_conv(&layout);
        let mut shapes = vec![all[0]];
        let mut stages = Vec::with_capacity(last);
        for (index, stage) in layout.stages.iter().enumerate().take(last).skip(1) {
            let place = layout.place(index, all[index]);
            let lower = Lower {
                simd,
                place: &place,
                tensors: &mut tensors,
            };
            if let Some(lowered) = stage.lower(lower) {
                stages.push(lowered?);
                shapes.push(all[index + usize::from(place.shuffled_by > 1)]);
            }
        }
        let tail = tail.lower(Lower {
            simd,
            place: &layout.place(last, all[last]),
            tensors: &mut tensors,
        })?;
        tensors.all_taken()?;
        Ok(Self {
            id: Sha256::digest(bytes).into(),
            program,
            simd,
            rates: first.rates(),
            synthesis,
            stages,
            shapes,
            tail,
            base: layout.base.map(|base| base.factor),
            parameters: tensors.parameters,
            macs_per_patch: tensors.macs_per_patch,
        })
    }

    /// The forms in which each map of [`Network::shapes`] is read.
    pub(crate) fn forms(&self) -> impl Iterator<Item = Forms> + '_ {
        let stages = self.stages.iter().map(|stage| stage.reads());
        stages.chain([self.tail.reads()])
    }

    /// Shape and forms of the map that each stage keeps between its input and its output, if it has one.
    pub(crate) fn inner(&self) -> impl Iterator<Item = Option<(Shape, Forms)>> + '_ {
        let stages = self.stages.iter().zip(&self.shapes[1..]);
        stages.map(|(stage, &shape)| stage.inner(shape))
    }
}

/// The convolution that makes the frame's pixels, and its index.
fn last_conv(layout: &Layout) -> (usize, &crate::stages::Conv) {
    let count = layout.stages.len();
    match &layout.stages[..] {
        [.., StageLayout::Conv(conv)] => (count - 1, conv),
        [.., StageLayout::Conv(conv), _] => (count - 2, conv),
        _ => unreachable!("a checked network ends in a convolution, or in its pixel shuffle"),
    }
}
