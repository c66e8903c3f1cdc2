//! Layers and the feature maps between them.

use std::fmt;

use crate::{PATCH, Wiring};

/// The set a layer's weights come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WeightKind {
    /// -1, 1 in 1 bit.
    Binary,
    /// -1, 0, 1 in 2 bits.
    Ternary,
    /// -2 to 2 in 3 bits.
    Quinary,
}

impl WeightKind {
    /// Bits a packed weight takes.
    pub fn bits(self) -> u32 {
        match self {
            Self::Binary => 1,
            Self::Ternary => 2,
            Self::Quinary => 3,
        }
    }

    /// Every value of the set, ascending.
    pub fn levels(self) -> &'static [i8] {
        match self {
            Self::Binary => &[-1, 1],
            Self::Ternary => &[-1, 0, 1],
            Self::Quinary => &[-2, -1, 0, 1, 2],
        }
    }

    pub(crate) fn values(self) -> &'static str {
        match self {
            Self::Binary => "-1 or 1",
            Self::Ternary => "-1 to 1",
            Self::Quinary => "-2 to 2",
        }
    }
}

impl fmt::Display for WeightKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Binary => "binary",
            Self::Ternary => "ternary",
            Self::Quinary => "quinary",
        })
    }
}

/// What a layer does with its accumulators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutputKind {
    /// 2-bit codes: clamp(acc >> shift, 0, 3).
    Codes,
    /// One bit: acc >= 0.
    Latent,
    /// The accumulator as it is.
    Logits,
}

impl fmt::Display for OutputKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Codes => "codes",
            Self::Latent => "latent bits",
            Self::Logits => "logits",
        })
    }
}

/// What the elements of a feature map are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// A pixel value, 0 to 255.
    Pixel,
    /// A 2-bit code, 0 to 3.
    Code,
    /// One latent bit.
    Latent,
    /// A 32-bit logit.
    Logit,
}

impl Element {
    /// Bits one element takes on the chip.
    pub fn bits(self) -> u32 {
        match self {
            Self::Pixel => 8,
            Self::Code => 2,
            Self::Latent => 1,
            Self::Logit => 32,
        }
    }
}

/// A feature map's shape; elements are in height-width-channel order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map {
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
    /// Channels.
    pub channels: u32,
    /// What the elements are.
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
    /// What becomes of the accumulators.
    pub output: OutputKind,
    /// Codes: right shift before the clamp, 0 to 31. Logits: see [`Program::score_shift`](crate::Program::score_shift).
    /// 0 for latent bits.
    pub shift: u32,
    /// Bits of a stored bias, 1 to 32.
    pub bias_bits: u32,
}

/// A convolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Its shape and kinds.
    pub spec: ConvSpec,
    /// Which kernels are stored, and what each reads.
    pub wiring: Wiring,
    /// Weights: stored kernel (an output channel each, unless shared or mirrored), kernel row, kernel column, kept
    /// input channel of the group (all, unless pruned; the first half, where the second mirrors it).
    pub weights: Vec<i8>,
    /// One bias an output channel; of the first half of them, where the second mirrors it.
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

/// A square max pooling without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Side of the window, 1 to 32.
    pub kernel: u32,
    /// Step in both directions, 1 to 32.
    pub stride: u32,
}

/// What a layer computes.
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
    /// What it computes.
    pub op: Op,
    /// The map it reads.
    pub input: Map,
    /// The map it writes.
    pub output: Map,
}

impl Layer {
    /// Multiply-accumulates a patch, padding included, a shared kernel once, a mirrored one twice; 0 for pooling.
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
