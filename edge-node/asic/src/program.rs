//! A program in memory, checked.

use std::fmt;

use crate::{Layer, Map, MemoryMap, Op, OutputKind, ProgramError, ProgramId, format};

/// What a program makes of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    /// One logit per label.
    Classify,
    /// A fixed number of latent bits.
    Compress,
}

impl Task {
    /// What the last layer of such a program outputs.
    pub fn output(self) -> OutputKind {
        match self {
            Self::Classify => OutputKind::Logits,
            Self::Compress => OutputKind::Latent,
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Classify => "classification",
            Self::Compress => "compression",
        })
    }
}

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
    /// Reads a `.nqe` file ([`format`](mod@crate::format)).
    ///
    /// # Errors
    /// Anything the format does not allow, with the layer and field, what was found and what is allowed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ProgramError> {
        format::read(bytes)
    }

    /// The program as a `.nqe` file: the very bytes it was read from, if it was.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format::content(self);
        bytes.extend_from_slice(self.id.as_bytes());
        bytes
    }

    /// SHA-256 of the file before its trailing digest.
    pub fn id(&self) -> ProgramId {
        self.id
    }

    /// The name its maker gave it; may be empty.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the program does.
    pub fn task(&self) -> Task {
        self.task
    }

    /// The classes in the order of the logits; empty for compression.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Scores are the softmax of logits / 2^score_shift: the chip compares logits as they are, and the trainer
    /// knows how much a step of them says. 0 for compression.
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

    /// Bits a patch, a multiple of 8 from 8 to 4096; none for classification.
    pub fn latent_bits(&self) -> Option<u32> {
        (self.task == Task::Compress).then(|| self.output().count() as u32)
    }

    /// Multiply-accumulates a patch.
    pub fn macs(&self) -> u64 {
        self.layers.iter().map(Layer::macs).sum()
    }

    /// Where the bits of the chip go.
    pub fn memory(&self) -> MemoryMap {
        MemoryMap::of(self)
    }
}
