//! A decoder's file to read, not to run.

use crate::loader::{File, Network, values};
use crate::simd::Isa;
use crate::{Layout, ModelError};
use std::collections::BTreeMap;
use std::fmt;

/// The network and the weights of a decoder's file, for other engines than [`Decoder`](crate::Decoder).
pub struct Model {
    program: [u8; 32],
    layout: Layout,
    tensors: BTreeMap<String, Vec<f32>>,
}

impl Model {
    /// Reads the bytes of a `.safetensors` file.
    ///
    /// # Errors
    /// As [`Decoder::from_safetensors`](crate::Decoder::from_safetensors): what one takes, the other takes.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, ModelError> {
        // All rules are those of loading.
        Network::<Isa>::load(bytes)?;
        let file = File::open(bytes)?;
        let tensors = file.tensors.into_iter().map(|(name, view)| {
            let values = values(name.clone(), &view)?;
            Ok((name, values))
        });
        Ok(Self {
            program: file.program,
            layout: file.layout,
            tensors: tensors.collect::<Result<_, ModelError>>()?,
        })
    }

    /// Id of the program whose latents it decodes.
    pub fn program(&self) -> [u8; 32] {
        self.program
    }

    /// The network.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The values of a tensor in PyTorch's order: output, input, kernel row, kernel column. Each name that `docs/formats.md`
    /// gives for the [`Model::layout`] is there, and in the shape that follows from it.
    pub fn tensor(&self, name: &str) -> Option<&[f32]> {
        self.tensors.get(name).map(Vec::as_slice)
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}
