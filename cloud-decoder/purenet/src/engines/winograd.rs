//! 3x3 convolutions by Winograd's minimal filtering F(4x4, 3x3): a tile of 4x4 outputs takes 36 products per input and
//! output channel in place of 144.
//!
//! Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, section 4. The points are
//! 0, 1, -1, 2, -2 and infinity. With `d` the 6x6 inputs of a tile and `g` the kernel, its outputs are
//! `A' [(G g G') * (B' d B)] A`, the products summed over the input channels between the transforms.

use crate::engine::Finish;
use crate::engines::simd::transforms::{Inputs, Outputs, POINTS, TILE, WINDOW};
use crate::engines::simd::{Isa, Lanes, PANEL, Windows};
use crate::rows::{MARGIN, Rows};
use crate::value::Value;
use rayon::prelude::*;
use std::cell::RefCell;

/// Unused values between the points of a block, so that points do not share cache sets.
const PAD: usize = 16;

/// G, row by row.
const KERNEL: [[f64; 3]; WINDOW] = [
    [1.0 / 4.0, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];

/// Transformed weights and biases of a layer.
pub(crate) struct Winograd {
    inputs: usize,
    outputs: usize,
    /// By panel of outputs, point and input.
    weights: Vec<Lanes>,
    bias: Vec<f32>,
}

/// Some tiles side by side: four rows of output.
struct Block<'a, O> {
    y: usize,
    x: usize,
    rows: Vec<&'a mut [O]>,
}

#[derive(Default)]
struct Scratch {
    /// Transformed inputs, by point, tile and channel.
    inputs: Vec<f32>,
    /// Sums of products, by point and tile.
    sums: Vec<Lanes>,
}

impl Scratch {
    /// Grows to hold these numbers of values and sums.
    fn fit(&mut self, inputs: usize, sums: usize) {
        self.inputs.resize(inputs.max(self.inputs.len()), 0.0);
        self.sums
            .resize(sums.max(self.sums.len()), Lanes([0.0; PANEL]));
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Winograd {
    /// Transforms 3x3 kernels in PyTorch's order, for multiples of 8 of input and output channels.
    pub(crate) fn new(weights: &[f32], bias: Vec<f32>, inputs: usize) -> Self {
        let outputs = bias.len();
        let panel_len = POINTS * inputs;
        let mut packed = vec![Lanes([0.0; PANEL]); outputs.div_ceil(PANEL) * panel_len];
        for (index, kernel) in weights.chunks_exact(9).enumerate() {
            let (output, input) = (index / inputs, index % inputs);
            let panel = &mut packed[output / PANEL * panel_len..][..panel_len];
            for (i, rows) in KERNEL.iter().enumerate() {
                for (j, columns) in KERNEL.iter().enumerate() {
                    let terms = (0..9).map(|k| rows[k / 3] * f64::from(kernel[k]) * columns[k % 3]);
                    let point = i * WINDOW + j;
                    panel[point * inputs + input].0[output % PANEL] = terms.sum::<f64>() as f32;
                }
            }
        }
        Self {
            inputs,
            outputs,
            weights: packed,
            bias,
        }
    }

    /// Computes the rows of the output from row `first` on, whole tiles.
    pub(crate) fn convolve<O: Value>(
        &self,
        isa: Isa,
        input: &Rows<f32>,
        first: usize,
        rows: Vec<&mut [O]>,
        finish: Finish<'_, f32>,
    ) {
        let block = TILE * self.block_len(isa, &rows).max(1);
        let mut blocks = Vec::new();
        let mut rows = rows
            .into_iter()
            .map(|row| row.chunks_mut(block * self.outputs));
        for y in (first..).step_by(TILE) {
            let mut rows: Vec<_> = rows.by_ref().take(TILE).collect();
            if rows.is_empty() {
                break;
            }
            for x in (0..).step_by(block) {
                let rows: Vec<_> = rows.iter_mut().filter_map(Iterator::next).collect();
                if rows.is_empty() {
                    break;
                }
                blocks.push(Block { y, x, rows });
            }
        }
        blocks.into_par_iter().for_each(|block| {
            SCRATCH.with_borrow_mut(|scratch| self.block(isa, input, block, finish, scratch));
        });
    }

    /// Tiles of a block: as many as the instruction set is fastest with, or fewer, so that all threads get as much.
    fn block_len<O>(&self, isa: Isa, rows: &[&mut [O]]) -> usize {
        let tiles = rows
            .first()
            .map_or(0, |row| row.len() / (TILE * self.outputs));
        let (lines, threads) = (rows.len() / TILE, rayon::current_num_threads());
        let mut blocks = tiles.div_ceil(isa.block()).max(1);
        while !(blocks * lines).is_multiple_of(threads) && blocks < tiles.div_ceil(isa.tile()) {
            blocks += 1;
        }
        tiles.div_ceil(blocks).next_multiple_of(isa.tile())
    }

    fn block<O: Value>(
        &self,
        isa: Isa,
        input: &Rows<f32>,
        block: Block<'_, O>,
        finish: Finish<'_, f32>,
        scratch: &mut Scratch,
    ) {
        let Block { y, x, mut rows } = block;
        let tiles = rows[0].len() / (TILE * self.outputs);
        let stride = tiles * self.inputs + PAD;
        let sums_stride = tiles + 1;
        scratch.fit(POINTS * stride, POINTS * sums_stride);
        let left = (x + MARGIN - 1) * self.inputs;
        isa.apply(Inputs {
            lines: std::array::from_fn(|i| &input.line(y + MARGIN - 1 + i)[left..]),
            channels: self.inputs,
            tiles,
            points: &mut scratch.inputs,
            stride,
        });
        let panels = self.weights.chunks_exact(POINTS * self.inputs);
        for (index, weights) in panels.enumerate() {
            let first = index * PANEL;
            let bias = &self.bias[first..self.outputs.min(first + PANEL)];
            for (point, weights) in weights.chunks_exact(self.inputs).enumerate() {
                let windows = Windows {
                    input: &scratch.inputs[point * stride..][..tiles * self.inputs],
                    rows: 1,
                    row_len: self.inputs,
                    row_stride: 0,
                    pixel_stride: self.inputs,
                };
                let sums = &mut scratch.sums[point * sums_stride..][..tiles];
                isa.multiply(windows, weights, bias.len(), sums);
            }
            let addend: [&[f32]; TILE] = std::array::from_fn(|i| match finish {
                Finish::Add(rows) => &rows.row(y + i)[x * self.outputs..],
                _ => &[],
            });
            isa.apply(Outputs {
                sums: &scratch.sums,
                stride: sums_stride,
                tiles,
                bias,
                first,
                outputs: self.outputs,
                rows: &mut rows,
                finish,
                addend,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::{Convolution, Finish};
    use crate::engines::conv::{Conv, Packed};
    use crate::engines::simd::Isa;
    use crate::noise::noise;
    use crate::rows::Rows;
    use crate::shape::Shape;

    /// A map of one row of patches, wider than a block of tiles.
    fn map(channels: usize, seed: u64) -> Rows<f32> {
        let mut rows = Rows::new(Shape { side: 32, channels }, 1, 6, 32);
        for (y, row) in rows.append(32).into_iter().enumerate() {
            row.copy_from_slice(&noise(row.len(), seed + ((y as u64) << 32)));
        }
        rows
    }

    #[test]
    fn sums_are_those_of_direct_convolutions() {
        for (inputs, outputs) in [(8, 8), (24, 40), (64, 48)] {
            let weights = noise(inputs * outputs * 9, 3);
            let bias = noise(outputs, 5);
            let (input, addend) = (map(inputs, 7), map(outputs, 11));
            let direct = Conv::Direct(Packed::new(&weights, bias.clone(), inputs, 3));
            let fast = <Conv as Convolution<Isa>>::pack(&weights, bias, inputs, 3, 32);
            assert!(matches!(fast, Conv::Winograd(_)));
            for finish in [Finish::Store, Finish::Relu, Finish::Add(&addend)] {
                let convolve = |conv: &Conv, isa| {
                    let mut output = map(outputs, 13);
                    output.restart();
                    conv.convolve(isa, &input, 0, output.append(32), finish);
                    output
                };
                let expected = convolve(&direct, Isa::Portable);
                for isa in [Isa::Portable, Isa::best()] {
                    let actual = convolve(&fast, isa);
                    for y in 0..32 {
                        for (x, (a, b)) in actual.row(y).iter().zip(expected.row(y)).enumerate() {
                            assert!(
                                (a - b).abs() < 2e-4,
                                "{isa:?}, {inputs} to {outputs}, row {y}, value {x}: {a}, not {b}"
                            );
                        }
                    }
                }
            }
        }
    }
}
