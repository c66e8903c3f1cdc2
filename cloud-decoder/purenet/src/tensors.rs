//! The tensors of a file, checked layer by layer.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use kernels::LANES;
use safetensors::{Dtype, tensor::TensorView};

use crate::arithmetic::{Reading, half, scaled};
use crate::error::ModelError;
use crate::layer_tensors::LayerTensors;
use crate::limits::MAX_WEIGHTS;
use crate::synthesis::SynthesisTensors;

/// Outputs that weights are counted for at a time, whatever a machine packs them to.
const PANEL: usize = 4 * LANES;

/// The tensors that no layer has taken yet, and the account of those that were.
pub(crate) struct Tensors<'a> {
    tensors: HashMap<String, TensorView<'a>>,
    packed: usize,
    /// Weights and biases taken.
    pub(crate) parameters: u64,
    /// Multiply-accumulates per patch.
    pub(crate) macs_per_patch: u64,
}

/// The sizes of a convolution layer.
#[derive(Clone, Copy)]
pub(crate) struct LayerSize {
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
    /// Rows and columns of a kernel.
    pub(crate) kernel: usize,
    /// Positions along the side of a patch.
    pub(crate) side: usize,
}

/// An integer of a tensor.
trait Integer: Copy + Into<i64> {
    const TYPE: Dtype;

    fn read(bytes: &[u8]) -> Vec<Self>;
}

macro_rules! integer {
    ($type:ty, $dtype:ident) => {
        impl Integer for $type {
            const TYPE: Dtype = Dtype::$dtype;

            fn read(bytes: &[u8]) -> Vec<Self> {
                let (values, _) = bytes.as_chunks();
                values
                    .iter()
                    .map(|&value| Self::from_le_bytes(value))
                    .collect()
            }
        }
    };
}

integer!(i8, I8);
integer!(i16, I16);
integer!(i32, I32);

/// The values that multipliers and scales may have.
const FACTORS: RangeInclusive<i64> = 0..=i16::MAX as i64;

impl<'a> Tensors<'a> {
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

    /// Takes the tensors of the convolution layer `name`. Weights keep PyTorch's order: output, input, row, column.
    pub(crate) fn layer(
        &mut self,
        stage: &str,
        name: &str,
        size: LayerSize,
    ) -> Result<LayerTensors, ModelError> {
        let LayerSize {
            outputs,
            inputs,
            kernel,
            side,
        } = size;
        let window = inputs * kernel * kernel;
        self.account(stage, (outputs, window), side * side)?;
        let shape = vec![outputs, inputs, kernel, kernel];
        let weights: Vec<i8> = self.take(stage, format!("{name}.weight"), shape, -64..=63)?;
        let bias: Vec<i32> = self.all(stage, format!("{name}.bias"), vec![outputs])?;
        let multipliers = format!("{name}.multiplier");
        let multipliers: Vec<i16> = self.take(stage, multipliers, vec![outputs], FACTORS)?;
        let tensor = format!("{name}.reading");
        let reading: Vec<i32> = self.all(stage, tensor.clone(), vec![3])?;
        let within = |index: usize, allowed: RangeInclusive<i64>| {
            in_range(&tensor, i64::from(reading[index]), &allowed)
        };
        within(0, FACTORS)?;
        within(1, 0..=255)?;
        within(2, 0..=31)?;
        let (scale, zero, shift) = (reading[0] as i16, reading[1] as u8, reading[2] as u32);
        for (output, (weights, &bias)) in weights.chunks_exact(window).zip(&bias).enumerate() {
            let weights: i64 = weights.iter().map(|&weight| i64::from(weight).abs()).sum();
            fits(name, output, 255 * weights, bias, shift)?;
        }
        Ok(LayerTensors {
            weights,
            bias,
            multipliers,
            reading: Reading { scale, zero },
            shift,
        })
    }

    /// Takes the tensors of the first stage, of so many outputs, hidden units and bits.
    pub(crate) fn synthesis(
        &mut self,
        stage: &str,
        name: &str,
        (outputs, units, bits): (usize, usize, usize),
    ) -> Result<SynthesisTensors, ModelError> {
        self.account(stage, (units, bits), 1)?;
        self.account(stage, (outputs, units), 1)?;
        let hidden = format!("{name}.hidden");
        let shape = vec![units, bits];
        let hidden_weights: Vec<i16> = self.all(stage, format!("{hidden}.weight"), shape)?;
        let hidden_bias: Vec<i16> = self.all(stage, format!("{hidden}.bias"), vec![units])?;
        let tensor = format!("{hidden}.multiplier");
        let hidden_multipliers: Vec<i16> = self.take(stage, tensor, vec![units], FACTORS)?;
        let shape = vec![outputs, units];
        let weights: Vec<i16> = self.all(stage, format!("{name}.weight"), shape)?;
        let bias: Vec<i32> = self.all(stage, format!("{name}.bias"), vec![outputs])?;
        let tensor = format!("{name}.multiplier");
        let multipliers: Vec<i16> = self.take(stage, tensor, vec![outputs], FACTORS)?;
        let shift: Vec<i32> = self.take(stage, format!("{name}.shift"), vec![1], 0..=31)?;
        let shift = shift[0] as u32;
        let mut most = Vec::with_capacity(units);
        for (unit, (weights, &bias)) in hidden_weights
            .chunks_exact(bits)
            .zip(&hidden_bias)
            .enumerate()
        {
            let weights: i64 = weights.iter().map(|&weight| i64::from(weight).abs()).sum();
            let sum = i64::from(bias).abs() + weights;
            let sum = i16::try_from(sum).map_err(|_| ModelError::HiddenSum {
                name: hidden.clone(),
                unit,
                sum,
            })?;
            most.push(i64::from(scaled(sum, hidden_multipliers[unit])));
        }
        for (output, (weights, &bias)) in weights.chunks_exact(units).zip(&bias).enumerate() {
            let products = weights.iter().zip(&most);
            let sum = products
                .map(|(&weight, most)| i64::from(weight).abs() * most)
                .sum();
            fits(name, output, sum, bias, shift)?;
        }
        Ok(SynthesisTensors {
            hidden_weights,
            hidden_bias,
            hidden_multipliers,
            weights,
            bias,
            multipliers,
            shift,
        })
    }

    /// Counts the weights of some outputs, each of which a patch uses `uses` times.
    fn account(
        &mut self,
        stage: &str,
        (outputs, window): (usize, usize),
        uses: usize,
    ) -> Result<(), ModelError> {
        self.parameters += (outputs * (window + 1)) as u64;
        self.macs_per_patch += (outputs * window * uses) as u64;
        self.packed += outputs.next_multiple_of(PANEL) * window;
        if self.packed > MAX_WEIGHTS {
            return Err(ModelError::TooLarge {
                stage: stage.to_owned(),
            });
        }
        Ok(())
    }

    fn all<I: Integer>(
        &mut self,
        stage: &str,
        tensor: String,
        shape: Vec<usize>,
    ) -> Result<Vec<I>, ModelError> {
        self.take(stage, tensor, shape, i64::MIN..=i64::MAX)
    }

    fn take<I: Integer>(
        &mut self,
        stage: &str,
        tensor: String,
        expected: Vec<usize>,
        allowed: RangeInclusive<i64>,
    ) -> Result<Vec<I>, ModelError> {
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
        if view.dtype() != I::TYPE {
            return Err(ModelError::TensorType {
                tensor,
                found: view.dtype().to_string(),
                expected: I::TYPE.to_string(),
            });
        }
        let values = I::read(view.data());
        for &value in &values {
            in_range(&tensor, value.into(), &allowed)?;
        }
        Ok(values)
    }
}

fn in_range(tensor: &str, value: i64, allowed: &RangeInclusive<i64>) -> Result<(), ModelError> {
    if allowed.contains(&value) {
        return Ok(());
    }
    Err(ModelError::TensorValue {
        tensor: tensor.to_owned(),
        value,
        least: *allowed.start(),
        most: *allowed.end(),
    })
}

/// Checks that an output's sum, whose products have at most these magnitudes together, stays within 32 bits.
fn fits(name: &str, output: usize, products: i64, bias: i32, shift: u32) -> Result<(), ModelError> {
    let sum = products + i64::from(bias).abs() + i64::from(half(shift));
    if sum <= i32::MAX.into() {
        return Ok(());
    }
    Err(ModelError::Sum {
        name: name.to_owned(),
        output,
        sum,
    })
}
