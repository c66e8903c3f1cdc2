//! Convolutions in full precision.

use crate::engine::{Convolution, Engine, Finish};
use crate::engines::linear::{self, Linear};
use crate::engines::simd::transforms::{POINTS, TILE};
use crate::engines::simd::{Isa, Lanes, PANEL, Windows};
use crate::engines::winograd::Winograd;
use crate::rows::{MARGIN, Rows};
use crate::value::Value;
use rayon::prelude::*;
use std::ops::Range;

/// Pixels whose sums are computed together: those of a panel stay in the first-level cache. Whole tiles, whatever the
/// instruction set.
const STRIP: usize = 84;

/// Weights and biases of a layer, output channels in panels of [`PANEL`], the last filled with zeros.
pub(crate) struct Packed {
    kernel: usize,
    inputs: usize,
    outputs: usize,
    weights: Vec<Lanes>,
    bias: Vec<f32>,
}

impl Packed {
    /// Packs weights in PyTorch's order: output, input, row, column, `bias` having one value an output.
    pub(crate) fn new(weights: &[f32], bias: Vec<f32>, inputs: usize, kernel: usize) -> Self {
        let (outputs, area) = (bias.len(), kernel * kernel);
        let window = area * inputs;
        let mut packed = vec![Lanes([0.0; PANEL]); outputs.div_ceil(PANEL) * window];
        for (output, weights) in weights.chunks_exact(window).enumerate() {
            let panel = &mut packed[output / PANEL * window..][..window];
            for (i, &weight) in weights.iter().enumerate() {
                panel[i % area * inputs + i / area].0[output % PANEL] = weight;
            }
        }
        Self {
            kernel,
            inputs,
            outputs,
            weights: packed,
            bias,
        }
    }

    /// Values that packing takes, with the panels filled up.
    pub(crate) fn packed_len(outputs: usize, inputs: usize, kernel: usize) -> usize {
        outputs.next_multiple_of(PANEL) * inputs * kernel * kernel
    }

    /// Row `y` of a convolution.
    fn row<O: Value>(
        &self,
        isa: Isa,
        input: &Rows<f32>,
        y: usize,
        output: &mut [O],
        finish: Finish<'_, f32>,
    ) {
        let radius = self.kernel / 2;
        let lines = (0..self.kernel).map(|i| input.line(y + MARGIN - radius + i));
        let window: Vec<f32> = lines.flatten().copied().collect();
        let windows = Windows {
            input: &window[(MARGIN - radius) * self.inputs..],
            rows: self.kernel,
            row_len: self.kernel * self.inputs,
            row_stride: window.len() / self.kernel,
            pixel_stride: self.inputs,
        };
        let window = self.kernel * self.kernel * self.inputs;
        let pixels = output.len() / self.outputs;
        let mut sums = [Lanes([0.0; PANEL]); STRIP];
        for (weights, bias) in self.weights.chunks(window).zip(self.panels()) {
            let (first, bias) = (bias.start, &self.bias[bias]);
            for x in (0..pixels).step_by(STRIP) {
                let sums = &mut sums[..STRIP.min(pixels - x)];
                isa.multiply(windows.skip(x), weights, bias.len(), sums);
                let at = |pixel| (x + pixel) * self.outputs + first;
                for (pixel, sums) in sums.iter().enumerate() {
                    let output = &mut output[at(pixel)..][..bias.len()];
                    let values = output.iter_mut().zip(&sums.0).zip(bias);
                    match finish {
                        Finish::Store => {
                            values.for_each(|((out, sum), bias)| *out = O::from_f32(sum + bias));
                        }
                        Finish::Relu => values.for_each(|((out, sum), bias)| {
                            *out = O::from_f32((sum + bias).max(0.0));
                        }),
                        Finish::Add(rows) => {
                            let addend = &rows.row(y)[at(pixel)..][..bias.len()];
                            for (((out, sum), bias), add) in values.zip(addend) {
                                *out = O::from_f32(add + (sum + bias));
                            }
                        }
                    }
                }
            }
        }
    }

    fn panels(&self) -> impl Iterator<Item = Range<usize>> {
        let outputs = self.outputs;
        (0..outputs)
            .step_by(PANEL)
            .map(move |first| first..outputs.min(first + PANEL))
    }
}

impl Engine for Isa {
    type Value = f32;
    type Linear = Linear;
    type Conv = Conv;

    fn pack_linear(weights: &[f32], bias: Vec<f32>, inputs: usize) -> Linear {
        Linear::new(weights, bias, inputs)
    }

    fn synthesis_values(_: usize, _: usize, values: usize) -> usize {
        linear::held_values(values)
    }

    fn synthesize(
        self,
        hidden: Option<&Linear>,
        last: &Linear,
        latents: &[u8],
        bytes: usize,
    ) -> Vec<f32> {
        linear::synthesize(self, hidden, last, latents, bytes)
    }
}

/// A same-size convolution.
pub(crate) enum Conv {
    Direct(Packed),
    Winograd(Winograd),
}

impl Conv {
    /// Whether a layer is computed by [`winograd`] at `side` positions along a patch: tiles fill patches, so that what
    /// a value is computed from does not depend on where a frame ends.
    fn fits_winograd(side: usize, outputs: usize, inputs: usize, kernel: usize) -> bool {
        kernel == 3
            && side.is_multiple_of(TILE)
            && inputs.is_multiple_of(8)
            && outputs.is_multiple_of(8)
    }

    /// Values that packing takes.
    pub(crate) fn packed_len(outputs: usize, inputs: usize, kernel: usize, side: usize) -> usize {
        if Self::fits_winograd(side, outputs, inputs, kernel) {
            return Packed::packed_len(outputs, inputs, 1) * POINTS;
        }
        Packed::packed_len(outputs, inputs, kernel)
    }
}

impl Convolution<Isa> for Conv {
    fn pack(weights: &[f32], bias: Vec<f32>, inputs: usize, kernel: usize, side: usize) -> Self {
        if Self::fits_winograd(side, bias.len(), inputs, kernel) {
            Self::Winograd(Winograd::new(weights, bias, inputs))
        } else {
            Self::Direct(Packed::new(weights, bias, inputs, kernel))
        }
    }

    fn radius(&self) -> usize {
        match self {
            Self::Direct(packed) => packed.kernel / 2,
            Self::Winograd(_) => 1,
        }
    }

    fn step(&self) -> usize {
        match self {
            Self::Direct(_) => 1,
            Self::Winograd(_) => TILE,
        }
    }

    fn convolve<O: Value>(
        &self,
        isa: Isa,
        input: &Rows<f32>,
        first: usize,
        output: Vec<&mut [O]>,
        finish: Finish<'_, f32>,
    ) {
        match self {
            Self::Winograd(layer) => layer.convolve(isa, input, first, output, finish),
            Self::Direct(layer) => output
                .into_par_iter()
                .enumerate()
                .for_each(|(y, row)| layer.row(isa, input, first + y, row, finish)),
        }
    }
}
