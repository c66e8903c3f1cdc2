//! A decoder's file: safetensors whose metadata describes the network.

use std::collections::HashMap;

use safetensors::{SafeTensors, tensor::TensorView};

use crate::error::ModelError;
use crate::layout::Layout;

const FORMAT: &str = "patchwire-decoder-2";

/// A safetensors file whose metadata is read.
pub(crate) struct File<'a> {
    pub(crate) program: [u8; 32],
    pub(crate) layout: Layout,
    pub(crate) tensors: HashMap<String, TensorView<'a>>,
}

impl<'a> File<'a> {
    /// Reads the metadata; the network and its tensors are not checked yet.
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, ModelError> {
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let metadata = header.metadata().as_ref();
        let entry = |key| {
            let value = metadata.and_then(|entries| entries.get(key));
            value.ok_or(ModelError::MetadataMissing { key })
        };
        let format = entry("format")?;
        if format != FORMAT {
            return Err(ModelError::Format {
                found: format.chars().take(64).collect(),
            });
        }
        let program = parse_id(entry("program")?).ok_or(ModelError::Program)?;
        let layout = serde_json::from_str(entry("stages")?).map_err(ModelError::Stages)?;
        let tensors = SafeTensors::deserialize(bytes)?
            .tensors()
            .into_iter()
            .collect();
        Ok(Self {
            program,
            layout,
            tensors,
        })
    }
}

/// 64 lowercase hexadecimal digits.
fn parse_id(text: &str) -> Option<[u8; 32]> {
    let mut id = [0; 32];
    hex::decode_to_slice(text, &mut id).ok()?;
    (!text.contains(|letter: char| letter.is_ascii_uppercase())).then_some(id)
}
