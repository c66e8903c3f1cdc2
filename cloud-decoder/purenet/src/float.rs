//! The layers of a decoder in floating point, without their rounding and saturation.

use std::collections::{BTreeMap, HashMap};

use ndarray::{Array1, ArrayD};
use safetensors::tensor::TensorView;

use crate::error::ModelError;
use crate::layer_tensors::LayerTensors;
use crate::layout::Layout;
use crate::shape::Shape;
use crate::stages::StageLayout;
use crate::tensors::{LayerSize, Tensors};

/// Values of a frame, which is in 16ths of a gray level, that are 1.
const WHITE: f64 = 16.0 * 255.0;
/// What R of the format divides by.
const ONE: f64 = 32_768.0;

/// Weights and biases by name, `NAME.weight` and `NAME.bias`, in PyTorch's order. Maps have the values that they have in
/// integers, frames are from 0 to 1.
pub(crate) fn tensors(
    layout: &Layout,
    shapes: &[Shape],
    tensors: HashMap<String, TensorView<'_>>,
) -> Result<BTreeMap<String, ArrayD<f32>>, ModelError> {
    let mut tensors = Tensors::new(tensors);
    let mut found = Found::default();
    // Frames are those of the base, which the first stage gives and joins read, and the last map.
    let base = layout.base.as_ref().map_or(1.0, |_| WHITE);
    let last_conv = layout
        .stages
        .iter()
        .rposition(|stage| matches!(stage, StageLayout::Conv(_)));
    synthesis(layout, base, &mut tensors, &mut found)?;
    for (index, stage) in layout.stages.iter().enumerate().skip(1) {
        let label = stage.label(index);
        let side = shapes[index].side;
        let mut add = |name: &str, (outputs, inputs, kernel), (input, output)| {
            let size = LayerSize {
                outputs,
                inputs,
                kernel,
                side,
            };
            let LayerTensors {
                weights,
                bias,
                multipliers,
                reading,
                shift,
            } = tensors.layer(&label, name, size)?;
            let read = f64::from(reading.scale) / ONE * input;
            let weights = weights.iter().map(|&weight| weight.into());
            let window = [inputs, kernel, kernel];
            found.add(
                name,
                weights,
                &window,
                bias,
                (&multipliers, shift),
                (read, output),
            );
            Ok::<_, ModelError>(())
        };
        match stage {
            StageLayout::Conv(conv) => {
                let input = if index == 1 { base } else { 1.0 };
                let output = if Some(index) == last_conv { WHITE } else { 1.0 };
                let size = (conv.output, conv.input, conv.kernel);
                add(&conv.name, size, (input, output))?;
            }
            StageLayout::Residual(block) => {
                let size = (block.channels, block.channels, block.kernel);
                let [first, second] = block.parts();
                add(&first, size, (1.0, 1.0))?;
                add(&second, size, (1.0, 1.0))?;
            }
            StageLayout::Join(join) => {
                add(
                    &join.name,
                    (join.channels, join.input, join.kernel),
                    (WHITE, 1.0),
                )?;
            }
            StageLayout::PatchLinear(_) | StageLayout::PixelShuffle(_) => {}
        }
    }
    Ok(found.0)
}

/// Adds the first stage, whose output is divided by `base`.
fn synthesis(
    layout: &Layout,
    base: f64,
    tensors: &mut Tensors<'_>,
    found: &mut Found,
) -> Result<(), ModelError> {
    let first = layout.first();
    let outputs = first.grid * first.grid * first.channels;
    let sizes = (outputs, first.hidden, first.bits);
    let stage = tensors.synthesis(&layout.stages[0].label(0), &first.name, sizes)?;
    let hidden = stage.hidden_bias.iter().map(|&bias| i32::from(bias));
    found.add(
        &format!("{}.hidden", first.name),
        stage.hidden_weights.iter().map(|&weight| weight.into()),
        &[first.bits],
        hidden.collect(),
        (&stage.hidden_multipliers, 0),
        (1.0, 1.0),
    );
    found.add(
        &first.name,
        stage.weights.iter().map(|&weight| weight.into()),
        &[first.hidden],
        stage.bias,
        (&stage.multipliers, stage.shift),
        (1.0, base),
    );
    Ok(())
}

/// The tensors so far.
#[derive(Default)]
struct Found(BTreeMap<String, ArrayD<f32>>);

impl Found {
    /// Adds a layer whose outputs are the sums divided by 2^`shift` and multiplied. Its inputs are multiplied by
    /// `scales.0`, its outputs divided by `scales.1`.
    fn add(
        &mut self,
        name: &str,
        weights: impl ExactSizeIterator<Item = i32>,
        window: &[usize],
        bias: Vec<i32>,
        (multipliers, shift): (&[i16], u32),
        scales: (f64, f64),
    ) {
        let length: usize = window.iter().product();
        let factor = |output: usize| {
            f64::from(multipliers[output]) / ONE / f64::from(shift).exp2() / scales.1
        };
        let weights = weights
            .enumerate()
            .map(|(index, weight)| (f64::from(weight) * scales.0 * factor(index / length)) as f32);
        let shape: Vec<usize> = [bias.len()].iter().chain(window).copied().collect();
        let weights = ArrayD::from_shape_vec(shape, weights.collect());
        let weights = weights.expect("a checked tensor has its shape");
        self.0.insert(format!("{name}.weight"), weights);
        let bias = bias.iter().enumerate();
        let bias = bias.map(|(output, &bias)| (f64::from(bias) * factor(output)) as f32);
        self.0
            .insert(format!("{name}.bias"), Array1::from_iter(bias).into_dyn());
    }
}
