//! Layers on packed weights.

use crate::map::{MARGIN, Map};
use crate::simd::{Isa, Lanes, PANEL, Windows};
use std::ops::Range;

/// Rows computed by one task: enough that a panel of weights is used often while it is in cache.
const STRIP: usize = 4;

/// Weights and biases of a layer, output channels in panels of [`PANEL`], the last filled with zeros.
pub(crate) struct Packed {
    rows: usize,
    row_len: usize,
    outputs: usize,
    weights: Vec<Lanes>,
    bias: Vec<f32>,
}

/// What happens to the biased sum.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// It replaces the output.
    Store,
    /// It replaces the output, or zero does where it is negative.
    Relu,
    /// It is added to the output.
    Add,
}

impl Packed {
    /// Packs weights in PyTorch's order: output, input, row, column, `bias` having one value an output.
    /// A linear layer has kernel 1.
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
            rows: kernel,
            row_len: kernel * inputs,
            outputs,
            weights: packed,
            bias,
        }
    }

    /// Values that packing takes, with the panels filled up.
    pub(crate) fn packed_len(outputs: usize, inputs: usize, kernel: usize) -> usize {
        outputs.next_multiple_of(PANEL) * inputs * kernel * kernel
    }

    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Same-size convolution of `input` into `output`, which has its size.
    pub(crate) fn convolve(&self, isa: Isa, input: &Map, output: &mut Map, finish: Finish) {
        let margin = MARGIN - self.rows / 2;
        output.par_strips(STRIP, |first, rows| {
            for index in self.panels() {
                for (y, row) in rows.iter_mut().enumerate() {
                    let windows = Windows {
                        input: input.from(first + y + margin, margin),
                        rows: self.rows,
                        row_len: self.row_len,
                        row_stride: input.row_stride(),
                        pixel_stride: input.channels(),
                    };
                    self.panel(isa, index, windows, row, finish);
                }
            }
        });
    }

    /// Linear layer on `count` vectors of `input`, each giving [`Packed::outputs`] values.
    pub(crate) fn linear(&self, isa: Isa, input: &[f32], count: usize, finish: Finish) -> Vec<f32> {
        let mut output = vec![0.0; count * self.outputs];
        let windows = Windows {
            input,
            rows: 1,
            row_len: self.row_len,
            row_stride: 0,
            pixel_stride: self.row_len,
        };
        for index in self.panels() {
            self.panel(isa, index, windows, &mut output, finish);
        }
        output
    }

    fn panels(&self) -> Range<usize> {
        0..self.outputs.div_ceil(PANEL)
    }

    /// Computes panel `index` of all pixels of `row`, which has `outputs` values a pixel.
    fn panel(&self, isa: Isa, index: usize, windows: Windows<'_>, row: &mut [f32], finish: Finish) {
        let window = self.rows * self.row_len;
        let weights = &self.weights[index * window..][..window];
        let first = index * PANEL;
        let bias = &self.bias[first..self.outputs.min(first + PANEL)];
        let pixels = row.len() / self.outputs;
        isa.for_tiles(pixels, windows, weights, bias.len(), |x, sums| {
            let outputs = row[x * self.outputs..].chunks_exact_mut(self.outputs);
            for (output, sums) in outputs.zip(sums) {
                let output = &mut output[first..first + bias.len()];
                let values = output.iter_mut().zip(&sums.0).zip(bias);
                match finish {
                    Finish::Store => values.for_each(|((out, sum), bias)| *out = sum + bias),
                    Finish::Relu => {
                        values.for_each(|((out, sum), bias)| *out = (sum + bias).max(0.0))
                    }
                    Finish::Add => values.for_each(|((out, sum), bias)| *out += sum + bias),
                }
            }
        });
    }
}
