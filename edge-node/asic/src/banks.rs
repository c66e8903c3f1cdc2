//! A convolution's stored kernels, packed for the machine's instructions.
//!
//! A matrix of kernels reads the same bytes of each window of the padded map ([`Layout`]). Where all kernels read all
//! channels, a row of the window is one run of bytes, and all kernels of a group are one matrix. Pruned kernels are
//! matrices of up to 32, whose runs are four channels of a position: four channels that none of them keeps are no run,
//! so that a pruned layer stays in proportion to what its file holds.

use std::collections::BTreeSet;

use kernels::{Aligned, LANES, Lanes, Matrix, Reads, Simd};

use crate::layer::StoredKernel;
use crate::layout::Layout;
use crate::{Conv, Element, Map};

/// Largest code.
pub(crate) const MAX_CODE: u8 = 3;
/// Pruned kernels of a matrix.
const PRUNED: usize = 2 * LANES;
/// Channels of a run of pruned kernels.
const FOUR: usize = 4;
/// Windows that are multiplied at a time, a multiple of what each instruction set computes together.
const WINDOWS: usize = 96;

/// Kernels of one group that read the same bytes.
#[derive(Debug)]
struct Bank {
    /// The first of its kernels.
    first: usize,
    matrix: Matrix<u8>,
    reads: Reads,
}

/// All banks of a convolution.
#[derive(Debug)]
pub(crate) struct Banks {
    stride: usize,
    height: usize,
    width: usize,
    banks: Vec<Bank>,
}

impl Banks {
    /// `biases` [kernels] are added to the sums; none: 0.
    pub(crate) fn new(
        simd: Simd,
        conv: &Conv,
        biases: Option<&[i32]>,
        input: &Layout,
        output: Map,
    ) -> Self {
        let spec = &conv.spec;
        let kernels = conv.kernels(input.map);
        let group_kernels = kernels.len() / spec.groups as usize;
        let bank_kernels = match conv.wiring.pruned {
            Some(_) => group_kernels.min(PRUNED),
            None => group_kernels,
        };
        let mut banks = Vec::new();
        for (group, kernels) in kernels.chunks(group_kernels).enumerate() {
            let runs = Runs::new(conv, input, group);
            for (bank, kernels) in kernels.chunks(bank_kernels).enumerate() {
                let first = group * group_kernels + bank * bank_kernels;
                let biases = match biases {
                    Some(biases) => biases[first..][..kernels.len()].to_vec(),
                    None => vec![0; kernels.len()],
                };
                let most = match input.map.element {
                    Element::Code => MAX_CODE,
                    _ => u8::MAX,
                };
                let (matrix, reads) = match conv.wiring.pruned {
                    None => runs.dense(simd, most, &biases, kernels),
                    Some(_) => runs.pruned(simd, most, &biases, kernels),
                };
                banks.push(Bank {
                    first,
                    matrix,
                    reads,
                });
            }
        }
        Self {
            stride: spec.stride as usize,
            height: output.height as usize,
            width: output.width as usize,
            banks,
        }
    }

    /// First bytes of all windows of a batch, in the order of the output's pixels.
    pub(crate) fn windows(&self, layout: &Layout, patches: usize, windows: &mut Vec<usize>) {
        let (map, row) = (layout.len(), self.stride * layout.row);
        let pixel = self.stride * layout.pixel;
        windows.clear();
        for patch in 0..patches {
            for y in 0..self.height {
                let first = patch * map + y * row;
                windows.extend((0..self.width).map(|x| first + x * pixel));
            }
        }
    }

    /// Gives `sink` the sums of all windows, a panel of kernels at a time. `sums` is memory to work in.
    pub(crate) fn run(
        &self,
        input: &Aligned<u8>,
        windows: &[usize],
        sums: &mut Vec<Lanes>,
        sink: &mut impl FnMut(Panel<'_>),
    ) {
        for Bank {
            first,
            matrix,
            reads,
        } in &self.banks
        {
            for panel in 0..matrix.panels() {
                let (output, kernels) = matrix.outputs(panel);
                let blocks = matrix.blocks(panel);
                for (part, windows) in windows.chunks(WINDOWS).enumerate() {
                    sums.resize(windows.len() * blocks, Lanes::default());
                    matrix.multiply(panel, reads, input.with_spare(), windows, sums);
                    sink(Panel {
                        window: part * WINDOWS,
                        kernel: first + output,
                        kernels,
                        blocks,
                        sums,
                    });
                }
            }
        }
    }
}

/// Sums of some kernels and windows.
#[derive(Clone, Copy)]
pub(crate) struct Panel<'a> {
    /// The first window and kernel.
    pub(crate) window: usize,
    pub(crate) kernel: usize,
    pub(crate) kernels: usize,
    blocks: usize,
    /// By window and block of kernels; those beyond the last kernel mean nothing.
    sums: &'a [Lanes],
}

impl<'a> Panel<'a> {
    /// Each window's sums, in blocks of kernels.
    #[inline(always)]
    pub(crate) fn windows(&self) -> impl Iterator<Item = (usize, &'a [Lanes])> {
        (self.window..).zip(self.sums.chunks_exact(self.blocks))
    }
}

/// Where the bytes of a window lie that a group's kernels read.
struct Runs {
    /// Bytes from the window to the beginning of each run.
    starts: Vec<usize>,
    /// Bytes of a run.
    run: usize,
}

impl Runs {
    fn new(conv: &Conv, input: &Layout, group: usize) -> Self {
        let spec = &conv.spec;
        let (rows, columns) = (spec.kernel_height as usize, spec.kernel_width as usize);
        let channels = (input.map.channels / spec.groups) as usize;
        let whole = spec.groups == 1 && conv.wiring.pruned.is_none();
        if whole && columns * channels == input.row {
            return Self {
                starts: vec![0],
                run: rows * input.row,
            };
        }
        if whole {
            return Self {
                starts: (0..rows).map(|y| y * input.row).collect(),
                run: columns * channels,
            };
        }
        let start = |y, x| y * input.row + x * input.pixel + group * channels;
        let starts = (0..rows).flat_map(|y| (0..columns).map(move |x| start(y, x)));
        Self {
            starts: starts.collect(),
            run: channels,
        }
    }

    fn dense(
        &self,
        simd: Simd,
        most: u8,
        biases: &[i32],
        kernels: &[StoredKernel<'_>],
    ) -> (Matrix<u8>, Reads) {
        let size = (self.starts.len(), self.run);
        let matrix = Matrix::new(simd, size, most, biases, |run, byte, kernel| {
            kernels[kernel].weights[run * self.run + byte]
        });
        let reads = matrix.reads(self.starts.iter().copied());
        (matrix, reads)
    }

    /// Kernels that keep some channels, in runs of four channels that at least one of them keeps.
    fn pruned(
        &self,
        simd: Simd,
        most: u8,
        biases: &[i32],
        kernels: &[StoredKernel<'_>],
    ) -> (Matrix<u8>, Reads) {
        let fours = kept_fours(kernels);
        let size = (self.starts.len() * fours.len(), FOUR);
        let matrix = Matrix::new(simd, size, most, biases, |run, byte, kernel| {
            let channel = FOUR * fours[run % fours.len()] + byte;
            let kept = kernels[kernel].kept.unwrap_or_default();
            let found = kept.binary_search_by(|&kept| usize::from(kept).cmp(&channel));
            found.map_or(0, |at| {
                kernels[kernel].weights[run / fours.len() * kept.len() + at]
            })
        });
        let starts = self.starts.iter();
        let reads = starts.flat_map(|start| fours.iter().map(move |four| start + FOUR * four));
        let reads = matrix.reads(reads);
        (matrix, reads)
    }
}

/// Which fours of channels at least one of the kernels keeps some of.
fn kept_fours(kernels: &[StoredKernel<'_>]) -> Vec<usize> {
    let kept = kernels
        .iter()
        .flat_map(|kernel| kernel.kept.unwrap_or_default());
    let fours: BTreeSet<usize> = kept.map(|&channel| usize::from(channel) / FOUR).collect();
    fours.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_that_no_kernel_keeps_are_not_read() {
        // Kernel k keeps channels 8 k and 8 k + 1.
        let kept: Vec<[u16; 2]> = (0..32).map(|k| [8 * k, 8 * k + 1]).collect();
        let kernels: Vec<_> = kept
            .iter()
            .map(|kept| StoredKernel {
                kept: Some(kept),
                weights: &[1; 2],
            })
            .collect();
        let expected: Vec<_> = (0..32).map(|k| 2 * k).collect();
        assert_eq!(kept_fours(&kernels), expected);
        assert_eq!(kept_fours(&kernels[..3]), [0, 2, 4]);
    }
}
