//! A convolution repacked for the vector kernels.
//!
//! Its stored kernels lie in banks of up to 32, each with a table of tap offsets, the same for every window of the
//! padded map ([`Layout`]), and weights in lines of 16 kernels x 4 input channels, zero where channels are padded or
//! pruned. Four channels that no kernel of a bank keeps have no tap, so that a pruned layer stays in proportion to what
//! its file holds.

use std::collections::BTreeSet;

use crate::layer::StoredKernel;
use crate::layout::Layout;
use crate::simd::{BLOCKS, LANES, Lanes, Line, Simd, TILE, Taps};
use crate::{Conv, Map};

/// Up to two blocks of 16 kernels of one group.
#[derive(Debug)]
struct Bank {
    /// The first of its kernels, and how many there are.
    first: usize,
    kernels: usize,
    /// First byte of its group in a pixel.
    group: usize,
    taps: Taps,
    /// For each block, a line a tap.
    lines: Vec<Line>,
    /// A block each; 0 where channels share kernels.
    biases: Vec<Lanes>,
}

/// Output channels that share kernels: each is its kernel's sum and its own bias.
#[derive(Debug)]
struct Spread {
    kernels: usize,
    kernel_of: Vec<u16>,
    biases: Vec<i32>,
}

#[derive(Debug)]
pub(crate) struct PackedConv {
    stride: usize,
    pub(crate) shift: u32,
    height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
    banks: Vec<Bank>,
    /// None where each output channel has its own kernel.
    spread: Option<Spread>,
}

impl PackedConv {
    pub(crate) fn new(conv: &Conv, input: &Layout, output: Map) -> Self {
        let conv = &conv.whole(input.map);
        let spec = &conv.spec;
        let kernels = conv.kernels(input.map);
        let spread = conv.wiring.shared.as_ref().map(|shared| Spread {
            kernels: kernels.len(),
            kernel_of: shared.kernel_of.clone(),
            biases: conv.biases.clone(),
        });
        let group_kernels = kernels.len() / spec.groups as usize;
        let mut banks = Vec::new();
        for (group, kernels) in kernels.chunks(group_kernels).enumerate() {
            for (bank, kernels) in kernels.chunks(BLOCKS * LANES).enumerate() {
                let first = group * group_kernels + bank * BLOCKS * LANES;
                banks.push(Bank::new(conv, input, group, first, kernels));
            }
        }
        Self {
            stride: spec.stride as usize,
            shift: spec.shift,
            height: output.height as usize,
            width: output.width as usize,
            channels: output.channels as usize,
            banks,
            spread,
        }
    }

    /// Calls `sink(y, x, first channel, sums)` for every position and up to 16 channels at a time.
    pub(crate) fn run(
        &self,
        simd: Simd,
        layout: &Layout,
        input: &[u8],
        sums: &mut Vec<i32>,
        mut sink: impl FnMut(usize, usize, usize, &[i32]),
    ) {
        let Some(spread) = &self.spread else {
            return self.run_banks(simd, layout, input, &mut sink);
        };
        sums.resize(self.height * self.width * spread.kernels, 0);
        self.run_banks(simd, layout, input, &mut |y, x, kernel, block: &[i32]| {
            let first = (y * self.width + x) * spread.kernels + kernel;
            sums[first..first + block.len()].copy_from_slice(block);
        });
        for (position, sums) in sums.chunks_exact(spread.kernels).enumerate() {
            let (y, x) = (position / self.width, position % self.width);
            spread.apply(sums, |channel, sums| sink(y, x, channel, sums));
        }
    }

    fn run_banks(
        &self,
        simd: Simd,
        layout: &Layout,
        input: &[u8],
        sink: &mut impl FnMut(usize, usize, usize, &[i32]),
    ) {
        for bank in &self.banks {
            let part = Part {
                simd,
                layout,
                input,
                bank,
            };
            match bank.biases.len() {
                1 => self.run_blocks::<1>(&part, sink),
                _ => self.run_blocks::<BLOCKS>(&part, sink),
            }
        }
    }

    /// B blocks at all positions: their weights stay in the nearest cache.
    fn run_blocks<const B: usize>(
        &self,
        part: &Part<'_>,
        sink: &mut impl FnMut(usize, usize, usize, &[i32]),
    ) {
        let positions = self.height * self.width;
        let mut start = 0;
        while start < positions {
            // A tile that is mostly there is computed whole, its last position again and again.
            if positions - start >= TILE / 2 {
                self.run_tile::<TILE, B>(part, start, positions, sink);
                start += TILE;
            } else {
                self.run_tile::<1, B>(part, start, positions, sink);
                start += 1;
            }
        }
    }

    fn run_tile<const P: usize, const B: usize>(
        &self,
        part: &Part<'_>,
        start: usize,
        positions: usize,
        sink: &mut impl FnMut(usize, usize, usize, &[i32]),
    ) {
        let Part {
            simd,
            layout,
            input,
            bank,
        } = *part;
        let place = |p: usize| (p / self.width, p % self.width);
        let bases: [usize; P] = std::array::from_fn(|p| {
            let (y, x) = place((start + p).min(positions - 1));
            y * self.stride * layout.row + x * self.stride * layout.pixel + bank.group
        });
        let biases: &[Lanes; B] = bank.biases.first_chunk().expect("a bank of B blocks");
        let mut acc = [Lanes::default(); TILE * BLOCKS];
        simd.dot(input, &bases, &bank.taps, &bank.lines, biases, &mut acc);
        for p in 0..P.min(positions - start) {
            let (y, x) = place(start + p);
            for b in 0..B {
                let kernel = b * LANES;
                let lanes = (bank.kernels - kernel).min(LANES);
                sink(y, x, bank.first + kernel, &acc[p * B + b].0[..lanes]);
            }
        }
    }
}

impl Bank {
    /// The bank of some kernels of `group`, from the convolution's kernel `first` on.
    fn new(
        conv: &Conv,
        input: &Layout,
        group: usize,
        first: usize,
        kernels: &[StoredKernel<'_>],
    ) -> Self {
        let (rows, columns) = (
            conv.spec.kernel_height as usize,
            conv.spec.kernel_width as usize,
        );
        let channels = (input.map.channels / conv.spec.groups) as usize;
        let kept: Vec<Vec<usize>> = kernels
            .iter()
            .map(|kernel| match kernel.kept {
                None => (0..channels).collect(),
                Some(kept) => kept.iter().map(|&channel| channel.into()).collect(),
            })
            .collect();
        let fours: BTreeSet<usize> = kept.iter().flatten().map(|channel| channel / 4).collect();
        let fours: Vec<usize> = fours.into_iter().collect();
        let mut tap_of = vec![0; channels.div_ceil(4)];
        for (tap, &four) in fours.iter().enumerate() {
            tap_of[four] = tap;
        }
        let mut offsets = Vec::with_capacity(rows * columns * fours.len());
        for ky in 0..rows {
            for kx in 0..columns {
                let first = ky * input.row + kx * input.pixel;
                offsets.extend(fours.iter().map(|four| (first + 4 * four) as u32));
            }
        }
        let blocks = kernels.len().div_ceil(LANES);
        let mut lines = vec![Line([0; 4 * LANES]); blocks * offsets.len()];
        for (kernel, (stored, kept)) in kernels.iter().zip(&kept).enumerate() {
            let (block, lane) = (kernel / LANES, kernel % LANES);
            for (index, &weight) in stored.weights.iter().enumerate() {
                let (position, channel) = (index / kept.len(), kept[index % kept.len()]);
                let tap = position * fours.len() + tap_of[channel / 4];
                lines[block * offsets.len() + tap].0[4 * lane + channel % 4] = weight;
            }
        }
        let mut biases = vec![Lanes::default(); blocks];
        if conv.wiring.shared.is_none() {
            let own = &conv.biases[first..first + kernels.len()];
            for (lanes, own) in biases.iter_mut().zip(own.chunks(LANES)) {
                lanes.0[..own.len()].copy_from_slice(own);
            }
        }
        Self {
            first,
            kernels: kernels.len(),
            group: group * input.group,
            taps: Taps::new(offsets),
            lines,
            biases,
        }
    }
}

impl Spread {
    /// Calls `sink(first channel, sums)` for up to 16 channels at a time, given the sums of all kernels.
    fn apply(&self, sums: &[i32], mut sink: impl FnMut(usize, &[i32])) {
        let biases = self.biases.chunks(LANES);
        for (block, (indices, biases)) in self.kernel_of.chunks(LANES).zip(biases).enumerate() {
            let mut lanes = [0; LANES];
            for (lane, (&index, &bias)) in lanes.iter_mut().zip(indices.iter().zip(biases)) {
                *lane = sums[usize::from(index)] + bias;
            }
            sink(block * LANES, &lanes[..indices.len()]);
        }
    }
}

/// One bank of a convolution, at work.
#[derive(Clone, Copy)]
struct Part<'a> {
    simd: Simd,
    layout: &'a Layout,
    input: &'a [u8],
    bank: &'a Bank,
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
        let packed = PackedConv::new(&conv, &Layout::read_by(&layer), layer.output);
        let taps: Vec<_> = packed.banks.iter().map(|bank| bank.taps.len()).collect();
        assert_eq!(taps, [9 * 32; 2]);
    }
}
