//! Layers with their numbers.

use crate::shapes::{ConvSpec, Map, Pool};
use crate::wiring::Wiring;

/// A convolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Its shape and kinds.
    pub spec: ConvSpec,
    /// Which kernels are stored, and which channels each reads.
    pub wiring: Wiring,
    /// Weights: stored kernel (an output channel each, unless shared or mirrored), kernel row, kernel column, kept
    /// input channel of the group (all, unless pruned; the first half, where the second mirrors it).
    pub weights: Vec<i8>,
    /// One bias per output channel, or per channel of the first half where the second half mirrors it.
    pub biases: Vec<i32>,
}

/// One stored kernel of a convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredKernel<'a> {
    /// Input channels of the group that it reads; none: all.
    pub(crate) kept: Option<&'a [u16]>,
    /// Kernel row, kernel column, kept input channel.
    pub(crate) weights: &'a [i8],
}

impl Conv {
    /// Input channels a group that kernels are stored for, pruned ones among them.
    pub(crate) fn stored_channels(&self, input: Map) -> u32 {
        self.wiring.channels(&self.spec, input)
    }

    /// The stored kernels.
    pub(crate) fn kernels(&self, input: Map) -> Vec<StoredKernel<'_>> {
        let channels = self.stored_channels(input);
        let area = (self.spec.kernel_height * self.spec.kernel_width) as usize;
        let mut rest = self.weights.as_slice();
        (0..self.wiring.kernels(&self.spec) as usize)
            .map(|kernel| {
                let pruned = self.wiring.pruned.as_ref();
                let kept = pruned.map(|pruned| pruned.kept[kernel].as_slice());
                let (weights, others) =
                    rest.split_at(area * kept.map_or(channels as usize, <[u16]>::len));
                rest = others;
                StoredKernel { kept, weights }
            })
            .collect()
    }

    /// The kernel that an output channel uses.
    pub(crate) fn kernel_of(&self, channel: usize) -> usize {
        let shared = self.wiring.shared.as_ref();
        shared.map_or(channel, |shared| shared.kernel_of[channel].into())
    }
}

/// The computation of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Convolution, then codes, bits or logits.
    Conv(Conv),
    /// Max pooling.
    Pool(Pool),
}

/// One layer with the shapes it works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The computation.
    pub op: Op,
    /// The map it reads.
    pub input: Map,
    /// The map it writes.
    pub output: Map,
}

impl Layer {
    /// Multiply-accumulates per patch, padding included. A shared kernel counts once, a mirrored one twice; pooling
    /// counts 0.
    pub fn macs(&self) -> u64 {
        match &self.op {
            Op::Conv(conv) => {
                u64::from(self.output.height)
                    * u64::from(self.output.width)
                    * conv.weights.len() as u64
                    * if conv.wiring.mirror.is_some() { 2 } else { 1 }
            }
            Op::Pool(_) => 0,
        }
    }
}
