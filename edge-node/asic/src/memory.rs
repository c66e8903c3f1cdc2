//! Where the bits of the chip go.

use crate::chip::BUDGET_BITS;
use crate::kinds::OutputKind;
use crate::layer::{Layer, Op};

/// Bits a stored shift takes.
const SHIFT_BITS: u64 = 5;

/// One layer's share of the chip, in bits, and its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerMemory {
    /// Packed weights.
    pub weights: u64,
    /// Which kernels output channels share and which input channels kernels keep.
    pub wiring: u64,
    /// Packed biases.
    pub biases: u64,
    /// The shift: 5 for a convolution to codes, 0 otherwise.
    pub shift: u64,
    /// The map it reads.
    pub input_map: u64,
    /// The map it writes.
    pub output_map: u64,
    /// Multiply-accumulates a patch.
    pub macs: u64,
}

impl LayerMemory {
    pub(crate) fn of(layer: &Layer) -> Self {
        let (weights, wiring, biases, shift) = match &layer.op {
            Op::Conv(conv) => (
                conv.weights.len() as u64 * u64::from(conv.spec.weights.bits()),
                conv.wiring.bits(conv.stored_channels(layer.input)),
                conv.biases.len() as u64 * u64::from(conv.spec.bias_bits),
                if conv.spec.output == OutputKind::Codes {
                    SHIFT_BITS
                } else {
                    0
                },
            ),
            Op::Pool(_) => (0, 0, 0, 0),
        };
        let (input_map, output_map) = (layer.input.bits(), layer.output.bits());
        Self {
            weights,
            wiring,
            biases,
            shift,
            input_map,
            output_map,
            macs: layer.macs(),
        }
    }

    /// Bits that stay on the chip between patches: weights, wiring, biases and shift.
    pub fn stored(&self) -> u64 {
        self.weights + self.wiring + self.biases + self.shift
    }

    /// Both maps, alive together while the layer runs.
    pub fn maps(&self) -> u64 {
        self.input_map + self.output_map
    }
}

/// A program's memory map, in bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryMap {
    /// Layer by layer, in the program's order.
    pub layers: Vec<LayerMemory>,
}

impl MemoryMap {
    pub(crate) fn of(layers: &[Layer]) -> Self {
        Self {
            layers: layers.iter().map(LayerMemory::of).collect(),
        }
    }

    /// Packed weights of all layers.
    pub fn weights(&self) -> u64 {
        self.layers.iter().map(|layer| layer.weights).sum()
    }

    /// Wiring of all layers.
    pub fn wiring(&self) -> u64 {
        self.layers.iter().map(|layer| layer.wiring).sum()
    }

    /// Packed biases of all layers.
    pub fn biases(&self) -> u64 {
        self.layers.iter().map(|layer| layer.biases).sum()
    }

    /// Shifts of all layers.
    pub fn shifts(&self) -> u64 {
        self.layers.iter().map(|layer| layer.shift).sum()
    }

    /// The largest pair of maps that are alive together.
    pub fn maps(&self) -> u64 {
        self.layers.iter().map(LayerMemory::maps).max().unwrap_or(0)
    }

    /// Everything that is on the chip at once; at most [`BUDGET_BITS`] in a checked program.
    pub fn total(&self) -> u64 {
        self.layers.iter().map(LayerMemory::stored).sum::<u64>() + self.maps()
    }

    /// Bits of the chip left unused.
    pub fn free(&self) -> u64 {
        BUDGET_BITS.saturating_sub(self.total())
    }
}
