//! A convolution's stored kernels, repacked for the vector kernels.
//!
//! They lie in banks of up to 32, each with a table of tap offsets, the same for every window of the padded map
//! ([`Layout`]), and weights in lines of 16 kernels x 4 bytes. Where all kernels read all channels, a row of the window
//! is one run of bytes, cut into fours. Else taps are four channels of a position, and four channels that no kernel of
//! a bank keeps have no tap, so that a pruned layer stays in proportion to what its file holds. Bytes beyond a run or a
//! group have weight 0.

use std::collections::BTreeSet;

use crate::layer::StoredKernel;
use crate::layout::Layout;
use crate::simd::{BLOCKS, LANES, Lanes, Line, Simd, TILE, Taps};
use crate::tiles::TileBank;
use crate::{Conv, Map};

/// Up to two blocks of 16 kernels of one group.
#[derive(Debug)]
struct Bank {
    /// The first of its kernels, and how many there are.
    first: usize,
    kernels: usize,
    weights: Weights,
}

#[derive(Debug)]
enum Weights {
    Lines(LineBank),
    Tiles(TileBank),
}

/// Kernels in lines of 16.
#[derive(Debug)]
struct LineBank {
    taps: Taps,
    /// For each block, a line a tap.
    lines: Vec<Line>,
    /// Start values of the sums of each block.
    starts: Vec<Lanes>,
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
    /// `biases` [kernels] are added to the sums; none: 0. With `tiles`, to be run with them.
    pub(crate) fn new(
        conv: &Conv,
        biases: Option<&[i32]>,
        input: &Layout,
        output: Map,
        tiles: bool,
    ) -> Self {
        let spec = &conv.spec;
        let kernels = conv.kernels(input.map);
        let group_kernels = kernels.len() / spec.groups as usize;
        let mut banks = Vec::new();
        for (group, kernels) in kernels.chunks(group_kernels).enumerate() {
            for (bank, kernels) in kernels.chunks(BLOCKS * LANES).enumerate() {
                let first = group * group_kernels + bank * BLOCKS * LANES;
                let biases = biases.map(|biases| &biases[first..first + kernels.len()]);
                banks.push(Bank::new(conv, biases, input, group, first, kernels, tiles));
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
    pub(crate) fn windows(&self, layout: &Layout, patches: usize) -> impl Iterator<Item = usize> {
        let (map, row) = (layout.len(), self.stride * layout.row);
        let pixel = self.stride * layout.pixel;
        (0..patches).flat_map(move |patch| {
            (0..self.height)
                .flat_map(move |y| (0..self.width).map(move |x| patch * map + y * row + x * pixel))
        })
    }

    /// Calls `sink(window, first kernel, sums)` for each of the windows and up to 16 kernels at a time.
    pub(crate) fn run(
        &self,
        simd: Simd,
        input: &[u8],
        windows: &[usize],
        sink: &mut impl FnMut(usize, usize, &[i32]),
    ) {
        for bank in &self.banks {
            let sink = |window, block: usize, sums: &Lanes| {
                let kernel = block * LANES;
                if kernel < bank.kernels {
                    let lanes = (bank.kernels - kernel).min(LANES);
                    sink(window, bank.first + kernel, &sums.0[..lanes]);
                }
            };
            match (&bank.weights, simd.tiles()) {
                (Weights::Tiles(bank), Some(amx)) => bank.run(amx, input, windows, sink),
                (Weights::Tiles(_), None) => unreachable!("packed for tiles, run without"),
                (Weights::Lines(bank), _) if bank.starts.len() == 1 => {
                    bank.run::<1>(simd, input, windows, sink);
                }
                (Weights::Lines(bank), _) => bank.run::<BLOCKS>(simd, input, windows, sink),
            }
        }
    }
}

impl Bank {
    /// The bank of some kernels of `group`, from the convolution's kernel `first` on.
    fn new(
        conv: &Conv,
        biases: Option<&[i32]>,
        input: &Layout,
        group: usize,
        first: usize,
        kernels: &[StoredKernel<'_>],
        tiles: bool,
    ) -> Self {
        let spec = &conv.spec;
        let (rows, columns) = (spec.kernel_height as usize, spec.kernel_width as usize);
        let channels = (input.map.channels / spec.groups) as usize;
        let whole = spec.groups == 1 && conv.wiring.pruned.is_none();
        let blocks = kernels.len().div_ceil(LANES);
        let mut lanes = vec![Lanes::default(); blocks];
        let biases = biases.unwrap_or_default().chunks(LANES);
        for (lanes, biases) in lanes.iter_mut().zip(biases) {
            lanes.0[..biases.len()].copy_from_slice(biases);
        }
        // Runs of bytes: where they start in the window, and what is read of each.
        let (starts, run): (Vec<usize>, usize) = if whole && columns * channels == input.row {
            (vec![0], rows * input.row)
        } else if whole {
            (
                (0..rows).map(|y| y * input.row).collect(),
                columns * channels,
            )
        } else {
            let start = |y, x| y * input.row + x * input.pixel + group * channels;
            let starts = (0..rows).flat_map(|y| (0..columns).map(move |x| start(y, x)));
            (starts.collect(), channels)
        };
        if tiles && conv.wiring.pruned.is_none() && TileBank::pays(starts.len(), run) {
            return Self {
                first,
                kernels: kernels.len(),
                weights: Weights::Tiles(TileBank::new(starts, run, kernels, &lanes)),
            };
        }
        let kept: Vec<Vec<usize>> = kernels
            .iter()
            .map(|kernel| match kernel.kept {
                None => (0..run).collect(),
                Some(kept) => kept.iter().map(|&channel| channel.into()).collect(),
            })
            .collect();
        let fours: BTreeSet<usize> = kept.iter().flatten().map(|byte| byte / 4).collect();
        let mut tap_of = vec![0; run.div_ceil(4)];
        for (tap, &four) in fours.iter().enumerate() {
            tap_of[four] = tap;
        }
        let offsets: Vec<u32> = starts
            .iter()
            .flat_map(|start| fours.iter().map(move |four| (start + 4 * four) as u32))
            .collect();
        let mut lines = vec![Line([0; 4 * LANES]); blocks * offsets.len()];
        for (kernel, (stored, kept)) in kernels.iter().zip(&kept).enumerate() {
            let (block, lane) = (kernel / LANES, kernel % LANES);
            for (index, &weight) in stored.weights.iter().enumerate() {
                let (start, byte) = (index / kept.len(), kept[index % kept.len()]);
                let tap = start * fours.len() + tap_of[byte / 4];
                lines[block * offsets.len() + tap].0[4 * lane + byte % 4] = weight;
            }
        }
        let taps = Taps::new(offsets, input.map.element);
        let starts = taps.starts(&lines, lanes);
        Self {
            first,
            kernels: kernels.len(),
            weights: Weights::Lines(LineBank {
                taps,
                lines,
                starts,
            }),
        }
    }
}

impl LineBank {
    /// Calls `sink(window, block, sums)` for B blocks at all windows: their weights stay in the nearest cache.
    fn run<const B: usize>(
        &self,
        simd: Simd,
        input: &[u8],
        windows: &[usize],
        mut sink: impl FnMut(usize, usize, &Lanes),
    ) {
        for (tile, windows) in windows.chunks(TILE).enumerate() {
            // A tile that is mostly there is computed whole, its last window again and again.
            if windows.len() >= TILE / 2 {
                self.run_tile::<TILE, B>(simd, input, tile * TILE, windows, &mut sink);
            } else {
                for (index, window) in windows.iter().enumerate() {
                    let first = tile * TILE + index;
                    let window = std::slice::from_ref(window);
                    self.run_tile::<1, B>(simd, input, first, window, &mut sink);
                }
            }
        }
    }

    fn run_tile<const P: usize, const B: usize>(
        &self,
        simd: Simd,
        input: &[u8],
        first: usize,
        windows: &[usize],
        sink: &mut impl FnMut(usize, usize, &Lanes),
    ) {
        let bases: [usize; P] = std::array::from_fn(|p| windows[p.min(windows.len() - 1)]);
        let starts: &[Lanes; B] = self.starts.first_chunk().expect("a bank of B blocks");
        let mut acc = [Lanes::default(); TILE * BLOCKS];
        simd.dot(input, &bases, &self.taps, &self.lines, starts, &mut acc);
        for p in 0..windows.len() {
            for b in 0..B {
                sink(first + p, b, &acc[p * B + b]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConvSpec, Element, Layer, Op, OutputKind, Pruned, WeightKind, Wiring};

    #[test]
    fn pruned_kernels_take_memory_in_proportion_to_their_weights() {
        let map = |channels| Map {
            height: 32,
            width: 32,
            channels,
            element: Element::Code,
        };
        let spec = ConvSpec {
            out_channels: 64,
            kernel_height: 3,
            kernel_width: 3,
            stride: 1,
            padding: 1,
            groups: 1,
            weights: WeightKind::Binary,
            output: OutputKind::Codes,
            shift: 0,
            bias_bits: 8,
        };
        // Kernel k keeps channel 8 k.
        let conv = Conv {
            spec,
            wiring: Wiring {
                shared: None,
                mirror: None,
                pruned: Some(Pruned {
                    gap_bits: 10,
                    kept: (0..64).map(|kernel| vec![8 * kernel]).collect(),
                }),
            },
            weights: vec![1; 9 * 64],
            biases: vec![0; 64],
        };
        let layer = Layer {
            op: Op::Conv(conv.clone()),
            input: map(512),
            output: map(64),
        };
        let packed = Banks::new(&conv, None, &Layout::read_by(&layer), layer.output, false);
        let taps: Vec<_> = packed
            .banks
            .iter()
            .map(|bank| match &bank.weights {
                Weights::Lines(bank) => bank.taps.len(),
                Weights::Tiles(_) => unreachable!("not asked for"),
            })
            .collect();
        assert_eq!(taps, [9 * 32; 2]);
    }
}
