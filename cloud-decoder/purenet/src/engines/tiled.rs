//! Layers on AMX tiles: values and weights in bf16, sums in `f32`.
//!
//! Sixteen neighbours of a row are a tile of windows where they lie: a kernel's rows are runs of a map's lines, its
//! taps and channels one after the other. So 3x3 layers are computed directly. A value is one fixed sequence of
//! operations, whichever tile it is in.

use amx::{Amx, COLUMNS, ROWS, Sums, Tile, Weights, Windows};
use half::bf16;
use rayon::prelude::*;

use crate::engine::{self, Convolution, Engine, Finish};
use crate::engines::simd::{Isa, Vector, Work};
use crate::rows::{MARGIN, Rows};
use crate::value::{Aligned, Value};

/// Rows of the largest kernel.
const MAX_KERNEL: usize = 2 * MARGIN + 1;
/// Windows whose sums are computed together: those of a panel stay in the first-level cache.
const STRIP: usize = 128;

/// Tiles, and the vector instructions around them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tiles {
    pub(crate) amx: Amx,
    pub(crate) isa: Isa,
}

/// Weights and biases of a convolution, output channels in panels of [`COLUMNS`].
pub(crate) struct Layer {
    kernel: usize,
    inputs: usize,
    outputs: usize,
    panels: Vec<Weights<bf16>>,
    bias: Vec<f32>,
}

/// Weights and biases of a linear layer. All of a patch's pixels hang on what these layers make of its bits, and in
/// bf16 alone that would show: a value is the sum of two, and the product of two sums that of three products.
pub(crate) struct Linear {
    inputs: usize,
    panels: Vec<Weights<bf16>>,
    bias: Vec<f32>,
}

/// The nearest bf16, and the nearest bf16 of the remainder.
fn split(value: f32) -> [bf16; 2] {
    let high: bf16 = Value::from_f32(value);
    [high, Value::from_f32(value - Value::to_f32(high))]
}

impl Layer {
    fn new(weights: &[f32], bias: Vec<f32>, inputs: usize, kernel: usize) -> Self {
        let (outputs, area) = (bias.len(), kernel * kernel);
        let panel = |first| {
            let columns = COLUMNS.min(outputs - first);
            Weights::new(kernel, kernel * inputs, columns, |y, value, column| {
                let (x, input) = (value / inputs, value % inputs);
                let place = ((first + column) * inputs + input) * area + y * kernel + x;
                Value::from_f32(weights[place])
            })
        };
        Self {
            kernel,
            inputs,
            outputs,
            panels: (0..outputs).step_by(COLUMNS).map(panel).collect(),
            bias,
        }
    }

    /// First channel and biases of each panel, with its weights.
    fn panels(&self) -> impl Iterator<Item = (usize, &[f32], &Weights<bf16>)> {
        let biases = self.bias.chunks(COLUMNS).zip(&self.panels).enumerate();
        biases.map(|(index, (bias, weights))| (index * COLUMNS, bias, weights))
    }

    /// Row `y` of a convolution.
    fn row<O: Value>(
        &self,
        tiles: Tiles,
        input: &Rows<bf16>,
        y: usize,
        output: &mut [O],
        finish: Finish<'_, bf16>,
    ) {
        let radius = self.kernel / 2;
        let mut runs: [&[bf16]; MAX_KERNEL] = [&[]; MAX_KERNEL];
        let runs = &mut runs[..self.kernel];
        for (i, run) in runs.iter_mut().enumerate() {
            *run = &input.long_line(y + MARGIN - radius + i)[(MARGIN - radius) * self.inputs..];
        }
        let pixels = output.len() / self.outputs;
        let mut sums = [Sums::default(); STRIP];
        for (first, bias, weights) in self.panels() {
            for x in (0..pixels).step_by(STRIP) {
                let count = STRIP.min(pixels - x);
                multiply(tiles.amx, weights, runs, self.inputs, x, &mut sums[..count]);
                let addend = match finish {
                    Finish::Add(rows) => rows.row(y),
                    Finish::Store | Finish::Relu => &[],
                };
                tiles.isa.apply(End {
                    sums: &sums[..count],
                    bias,
                    row: &mut output[x * self.outputs..][..count * self.outputs],
                    addend: addend.get(x * self.outputs..).unwrap_or_default(),
                    relu: matches!(finish, Finish::Relu),
                    outputs: self.outputs,
                    first,
                });
            }
        }
    }
}

impl Tiles {
    /// Linear layer on `count` vectors one after the other; negative values become zero if `relu`. Panels are shared
    /// out, since the weights are more than the inputs.
    fn linear(self, layer: &Linear, input: &[f32], count: usize, relu: bool) -> Vec<f32> {
        let [mut high, mut low] = [(); 2].map(|()| Aligned::zeros(count * layer.inputs));
        let halves = high.values_mut().iter_mut().zip(low.values_mut());
        for ((high, low), &value) in halves.zip(input) {
            [*high, *low] = split(value);
        }
        let runs = [high.with_spare(), high.with_spare(), low.with_spare()];
        let panels: Vec<Vec<Sums<f32>>> = layer
            .panels
            .par_iter()
            .map(|weights| {
                let mut sums = vec![Sums::default(); count];
                for (strip, sums) in sums.chunks_mut(STRIP).enumerate() {
                    multiply(self.amx, weights, &runs, layer.inputs, strip * STRIP, sums);
                }
                sums
            })
            .collect();
        let mut output = vec![0.0; count * layer.bias.len()];
        let vectors = output.par_chunks_exact_mut(layer.bias.len()).enumerate();
        vectors.for_each(|(vector, output)| {
            let sums = panels.iter().map(|sums| &sums[vector].0);
            engine::join(sums, &layer.bias, relu, output);
        });
        output
    }
}

/// The sums of as many windows as `sums` has, from window `first` on; `stride` values apart.
fn multiply(
    amx: Amx,
    weights: &Weights<bf16>,
    runs: &[&[bf16]],
    stride: usize,
    first: usize,
    sums: &mut [Sums<f32>],
) {
    let rows = sums.len().min(ROWS);
    let windows = Windows { runs, stride, rows };
    let mut tiles = [Tile { at: 0, first: 0 }; STRIP / ROWS];
    let tiles = &mut tiles[..sums.len().div_ceil(ROWS)];
    for (index, tile) in tiles.iter_mut().enumerate() {
        // The last one may overlap the one before.
        let window = (index * ROWS).min(sums.len() - rows);
        *tile = Tile {
            at: (first + window) * stride,
            first: window,
        };
    }
    amx.multiply(weights, windows, tiles, sums);
}

/// The end of a layer for a strip of a panel.
struct End<'a, O> {
    sums: &'a [Sums<f32>],
    bias: &'a [f32],
    row: &'a mut [O],
    /// Added to the sums, if not empty.
    addend: &'a [bf16],
    relu: bool,
    outputs: usize,
    first: usize,
}

impl<O: Value> Work for End<'_, O> {
    #[inline(always)]
    fn run<V: Vector>(self) {
        let (outputs, first, count) = (self.outputs, self.first, self.bias.len());
        let pixels = self.row.chunks_exact_mut(outputs).zip(self.sums);
        for (pixel, (values, sums)) in pixels.enumerate() {
            let values = &mut values[first..][..count];
            let addend = self.addend.get(pixel * outputs + first..);
            let addend = addend.unwrap_or_default();
            // Whole panels get code of their own, in which the compiler knows how many values there are.
            if count == COLUMNS {
                end::<COLUMNS, O>(values, sums, self.bias, addend, self.relu);
            } else {
                for channel in 0..count {
                    let sums = Sums([sums.0[channel]; COLUMNS]);
                    let addend = addend.get(channel..).unwrap_or_default();
                    end::<1, O>(
                        &mut values[channel..],
                        &sums,
                        &self.bias[channel..],
                        addend,
                        self.relu,
                    );
                }
            }
        }
    }
}

/// N values: what is left of an empty `addend` is not added.
#[inline(always)]
fn end<const N: usize, O: Value>(
    values: &mut [O],
    sums: &Sums<f32>,
    bias: &[f32],
    addend: &[bf16],
    relu: bool,
) {
    let values = values.first_chunk_mut::<N>().expect("values of a panel");
    let bias = bias.first_chunk::<N>().expect("biases of a panel");
    let biased = values.iter_mut().zip(&sums.0).zip(bias);
    match addend.first_chunk::<N>() {
        Some(addend) => {
            for (((value, sum), bias), add) in biased.zip(addend) {
                *value = O::from_f32(Value::to_f32(*add) + (sum + bias));
            }
        }
        None if relu => {
            biased.for_each(|((value, sum), bias)| *value = O::from_f32((sum + bias).max(0.0)));
        }
        None => biased.for_each(|((value, sum), bias)| *value = O::from_f32(sum + bias)),
    }
}

impl Engine for Tiles {
    type Value = bf16;
    type Linear = Linear;
    type Conv = Layer;

    fn pack_linear(weights: &[f32], bias: Vec<f32>, inputs: usize) -> Linear {
        let outputs = bias.len();
        let panel = |first| {
            let columns = COLUMNS.min(outputs - first);
            // The runs are the upper halves of a vector, them again, and the lower halves.
            Weights::new(3, inputs, columns, |run, input, column| {
                split(weights[(first + column) * inputs + input])[run % 2]
            })
        };
        Linear {
            inputs,
            panels: (0..outputs).step_by(COLUMNS).map(panel).collect(),
            bias,
        }
    }

    fn synthesis_values(bits: usize, units: usize, values: usize) -> usize {
        // Inputs and their halves, and each layer's result by panels and by patches; the first layer's inputs stay.
        2 * bits + (3 * units).max(units + 2 * values)
    }

    fn synthesize(
        self,
        hidden: Option<&Linear>,
        last: &Linear,
        latents: &[u8],
        bytes: usize,
    ) -> Vec<f32> {
        let inputs = hidden.unwrap_or(last).inputs;
        let patches = latents.chunks_exact(bytes);
        let count = patches.len();
        let mut values = vec![0.0; count * inputs];
        for (signs, patch) in values.chunks_exact_mut(inputs).zip(patches) {
            for (bit, sign) in signs.iter_mut().take(8 * bytes).enumerate() {
                *sign = f32::from(patch[bit / 8] >> (bit % 8) & 1) * 2.0 - 1.0;
            }
        }
        if let Some(hidden) = hidden {
            values = self.linear(hidden, &values, count, true);
        }
        self.linear(last, &values, count, false)
    }
}

impl Convolution<Tiles> for Layer {
    fn pack(weights: &[f32], bias: Vec<f32>, inputs: usize, kernel: usize, _: usize) -> Self {
        Self::new(weights, bias, inputs, kernel)
    }

    fn radius(&self) -> usize {
        self.kernel / 2
    }

    fn step(&self) -> usize {
        1
    }

    fn convolve<O: Value>(
        &self,
        tiles: Tiles,
        input: &Rows<bf16>,
        first: usize,
        output: Vec<&mut [O]>,
        finish: Finish<'_, bf16>,
    ) {
        let rows = output.into_par_iter().enumerate();
        rows.for_each(|(y, row)| self.row(tiles, input, first + y, row, finish));
    }
}

#[cfg(test)]
mod tests;
