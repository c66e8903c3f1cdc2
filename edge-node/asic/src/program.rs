//! A program in memory, checked.

use crate::id::ProgramId;
use crate::kinds::{OutputKind, Task};
use crate::layer::{Layer, Op};
use crate::memory::MemoryMap;
use crate::shapes::Map;

/// A checked program: it fits the chip, its shapes fit each other and no sum can overflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub(crate) task: Task,
    pub(crate) name: String,
    pub(crate) labels: Vec<String>,
    pub(crate) layers: Vec<Layer>,
    pub(crate) id: ProgramId,
}

impl Program {
    /// SHA-256 of the file before its trailing digest.
    pub fn id(&self) -> ProgramId {
        self.id
    }

    /// The name its maker gave it; may be empty.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The task that the program does.
    pub fn task(&self) -> Task {
        self.task
    }

    /// The classes in the order of the logits; empty for compression.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Scores are the softmax of logits / 2^score_shift. The chip compares logits as they are; the trainer sets the
    /// scale of a step. 0 for compression.
    pub fn score_shift(&self) -> u32 {
        match self.layers.last().map(|layer| &layer.op) {
            Some(Op::Conv(conv)) if conv.spec.output == OutputKind::Logits => conv.spec.shift,
            _ => 0,
        }
    }

    /// The layers in the order they run; at least one.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The last layer's map: the latent bits or the logits.
    pub fn output(&self) -> Map {
        self.layers[self.layers.len() - 1].output
    }

    /// Bits per patch, a multiple of 8 from 8 to 4096; none for classification.
    pub fn latent_bits(&self) -> Option<u32> {
        (self.task == Task::Compress).then(|| self.output().count() as u32)
    }

    /// Multiply-accumulates per patch.
    pub fn macs(&self) -> u64 {
        self.layers.iter().map(Layer::macs).sum()
    }

    /// Where the bits of the chip go.
    pub fn memory(&self) -> MemoryMap {
        MemoryMap::of(&self.layers)
    }
}
