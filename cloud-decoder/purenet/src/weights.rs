//! The tensors of a file, checked and packed layer by layer.

use std::collections::HashMap;

use half::f16;
use safetensors::{Dtype, tensor::TensorView};

use crate::engine::{Convolution, Engine};
use crate::engines::{conv::Conv, linear::Linear};
use crate::error::ModelError;
use crate::limits::MAX_WEIGHTS;

/// The tensors that no layer has taken yet, and the account of those that were.
pub(crate) struct Weights<'a> {
    tensors: HashMap<String, TensorView<'a>>,
    packed: usize,
    /// Weights and biases taken.
    pub(crate) parameters: u64,
    /// Multiply-accumulates per patch.
    pub(crate) macs_per_patch: u64,
}

impl<'a> Weights<'a> {
    pub(crate) fn new(tensors: HashMap<String, TensorView<'a>>) -> Self {
        Self {
            tensors,
            packed: 0,
            parameters: 0,
            macs_per_patch: 0,
        }
    }

    /// Makes sure that no tensor is left.
    pub(crate) fn all_taken(&self) -> Result<(), ModelError> {
        match self.tensors.keys().min() {
            Some(tensor) => Err(ModelError::TensorUnknown {
                tensor: tensor.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Takes and packs `NAME.weight` and `NAME.bias` of a linear layer.
    pub(crate) fn linear<E: Engine>(
        &mut self,
        stage: &str,
        name: &str,
        outputs: usize,
        inputs: usize,
    ) -> Result<E::Linear, ModelError> {
        self.account(stage, Linear::packed_len(outputs, inputs))?;
        let (weights, bias) = self.weights_and_biases(stage, name, vec![outputs, inputs], 1)?;
        Ok(E::pack_linear(&weights, bias, inputs))
    }

    /// The same of a convolution with these numbers of output channels, input channels and kernel rows, at `side`
    /// positions along a patch. Its outputs are sorted for a pixel shuffle by `shuffled`.
    pub(crate) fn conv<E: Engine>(
        &mut self,
        stage: &str,
        name: &str,
        (outputs, inputs, kernel): (usize, usize, usize),
        side: usize,
        shuffled: usize,
    ) -> Result<E::Conv, ModelError> {
        self.account(stage, Conv::packed_len(outputs, inputs, kernel, side))?;
        let shape = vec![outputs, inputs, kernel, kernel];
        let (weights, bias) = self.weights_and_biases(stage, name, shape, side * side)?;
        let order = by_position(outputs, shuffled);
        let kernels: Vec<_> = weights.chunks_exact(inputs * kernel * kernel).collect();
        let weights: Vec<_> = (order.clone())
            .flat_map(|output| kernels[output])
            .copied()
            .collect();
        let bias = order.map(|output| bias[output]).collect();
        Ok(E::Conv::pack(&weights, bias, inputs, kernel, side))
    }

    /// Counts weights as they are packed for full precision, whatever engine packs them, so that every machine accepts
    /// the same files.
    fn account(&mut self, stage: &str, packed: usize) -> Result<(), ModelError> {
        self.packed += packed;
        if self.packed > MAX_WEIGHTS {
            return Err(ModelError::TooLarge {
                stage: stage.to_owned(),
            });
        }
        Ok(())
    }

    /// Weights of this shape, each of which a patch uses `uses` times, and their biases.
    fn weights_and_biases(
        &mut self,
        stage: &str,
        name: &str,
        shape: Vec<usize>,
        uses: usize,
    ) -> Result<(Vec<f32>, Vec<f32>), ModelError> {
        let outputs = shape[0];
        let weights = self.tensor(stage, format!("{name}.weight"), shape)?;
        let bias = self.tensor(stage, format!("{name}.bias"), vec![outputs])?;
        self.parameters += (weights.len() + bias.len()) as u64;
        self.macs_per_patch += (weights.len() * uses) as u64;
        Ok((weights, bias))
    }

    fn tensor(
        &mut self,
        stage: &str,
        tensor: String,
        expected: Vec<usize>,
    ) -> Result<Vec<f32>, ModelError> {
        let Some(view) = self.tensors.remove(&tensor) else {
            return Err(ModelError::TensorMissing {
                stage: stage.to_owned(),
                tensor,
            });
        };
        if view.shape() != expected {
            return Err(ModelError::TensorShape {
                tensor,
                found: view.shape().to_vec(),
                expected,
            });
        }
        values(tensor, &view)
    }
}

/// The channels of a position pixel by pixel and row by row, for PyTorch's pixel shuffle by `factor`, which takes them
/// colour by colour. In this order the channels that become a run of a row lie side by side already.
fn by_position(channels: usize, factor: usize) -> impl Iterator<Item = usize> + Clone {
    let pixels = factor * factor;
    let colours = channels / pixels;
    (0..channels).map(move |at| at % colours * pixels + at / colours)
}

/// The values of a tensor, finite and in f32.
pub(crate) fn values(tensor: String, view: &TensorView<'_>) -> Result<Vec<f32>, ModelError> {
    let values: Vec<f32> = match view.dtype() {
        Dtype::F32 => {
            let (values, _) = view.data().as_chunks();
            values.iter().map(|&v| f32::from_le_bytes(v)).collect()
        }
        Dtype::F16 => {
            let (values, _) = view.data().as_chunks();
            values
                .iter()
                .map(|&v| f16::from_le_bytes(v).to_f32())
                .collect()
        }
        other => {
            return Err(ModelError::TensorType {
                tensor,
                found: other.to_string(),
            });
        }
    };
    match values.iter().find(|value| !value.is_finite()) {
        Some(&value) => Err(ModelError::TensorValue { tensor, value }),
        None => Ok(values),
    }
}
