//! A program repacked for the vector kernels.
//!
//! A convolution becomes a table of tap offsets, the same for every window of the padded map ([`Layout`]), and weights
//! in lines of 16 output channels x 4 input channels, zero where channels are padded.

use crate::layout::{Layout, clear, max_pool};
use crate::reference::quantize;
use crate::simd::{BLOCKS, LANES, Lanes, Line, Simd, TILE, Taps};
use crate::{Conv, Layer, Map, Op, PATCH, PATCH_BYTES, Pool, Program};

/// One output group's weights and biases, in blocks of 16 channels.
#[derive(Debug)]
struct Group {
    lines: Vec<Line>,
    biases: Vec<Lanes>,
}

#[derive(Debug)]
struct PackedConv {
    stride: usize,
    shift: u32,
    height: usize,
    width: usize,
    channels: usize,
    group_out: usize,
    taps: Taps,
    groups: Vec<Group>,
}

#[derive(Debug)]
enum PackedOp {
    Conv(PackedConv),
    Pool(Pool),
}

/// A program repacked once, for one instruction set.
#[derive(Debug)]
pub(crate) struct Packed {
    simd: Simd,
    /// Each layer's operation and the layout of what it reads.
    layers: Vec<(Layout, PackedOp)>,
}

/// Buffers of one thread; they grow to what its programs need and stay.
#[derive(Default)]
pub(crate) struct Scratch {
    input: Vec<u8>,
    output: Vec<u8>,
}

/// Where a program's result goes.
pub(crate) enum Target<'a> {
    /// Packed latent bits, zero before.
    Bits(&'a mut [u8]),
    /// One logit a label.
    Logits(&'a mut [i32]),
}

impl Packed {
    pub(crate) fn new(program: &Program, simd: Simd) -> Self {
        let pack = |layer: &Layer| {
            let layout = Layout::read_by(layer);
            let op = match &layer.op {
                Op::Conv(conv) => PackedOp::Conv(PackedConv::new(conv, &layout, layer.output)),
                Op::Pool(pool) => PackedOp::Pool(*pool),
            };
            (layout, op)
        };
        Self {
            simd,
            layers: program.layers().iter().map(pack).collect(),
        }
    }

    /// Runs the program on a patch; `target` has the program's kind and size.
    pub(crate) fn run(
        &self,
        pixels: &[u8; PATCH_BYTES],
        scratch: &mut Scratch,
        target: &mut Target<'_>,
    ) {
        let Scratch { input, output } = scratch;
        let (first, _) = &self.layers[0];
        clear(input, first);
        for (index, pixel) in pixels.chunks_exact(3).enumerate() {
            first.put(input, first.at(index / PATCH, index % PATCH), 0, pixel);
        }
        for (index, (layout, op)) in self.layers.iter().enumerate() {
            match (op, self.layers.get(index + 1)) {
                (PackedOp::Conv(conv), Some((next, _))) => {
                    clear(output, next);
                    conv.run(self.simd, layout, input, |y, x, channel, sums| {
                        let mut codes = [0; LANES];
                        for (code, &acc) in codes.iter_mut().zip(sums) {
                            *code = quantize(acc, conv.shift);
                        }
                        next.put(output, next.at(y, x), channel, &codes[..sums.len()]);
                    });
                }
                (PackedOp::Conv(conv), None) => {
                    conv.run(self.simd, layout, input, |y, x, channel, sums| {
                        let first = (y * conv.width + x) * conv.channels + channel;
                        target.put(first, sums);
                    })
                }
                (PackedOp::Pool(pool), next) => {
                    let (next, _) = next.expect("a program ends in a convolution");
                    clear(output, next);
                    max_pool(pool, layout, input, next, output);
                }
            }
            std::mem::swap(input, output);
        }
    }
}

impl Target<'_> {
    fn put(&mut self, first: usize, sums: &[i32]) {
        match self {
            Self::Logits(logits) => logits[first..first + sums.len()].copy_from_slice(sums),
            Self::Bits(bits) => {
                for (bit, &acc) in (first..).zip(sums) {
                    bits[bit / 8] |= u8::from(acc >= 0) << (bit % 8);
                }
            }
        }
    }
}

impl PackedConv {
    fn new(conv: &Conv, input: &Layout, output: Map) -> Self {
        let spec = &conv.spec;
        let (rows, columns) = (spec.kernel_height as usize, spec.kernel_width as usize);
        let groups = spec.groups as usize;
        let group_in = input.map.channels as usize / groups;
        let group_out = spec.out_channels as usize / groups;
        let mut offsets = Vec::new();
        for ky in 0..rows {
            for kx in 0..columns {
                let tap = ky * input.row + kx * input.pixel;
                offsets.extend((0..input.group).step_by(4).map(|i| (tap + i) as u32));
            }
        }
        let pack_group = |group: usize| {
            let blocks = group_out.div_ceil(LANES);
            let mut lines = vec![Line([0; 4 * LANES]); blocks * offsets.len()];
            let mut biases = vec![Lanes::default(); blocks];
            for channel in 0..group_out {
                let (block, lane) = (channel / LANES, channel % LANES);
                let channel = group * group_out + channel;
                biases[block].0[lane] = conv.biases[channel];
                let window = &conv.weights[channel * rows * columns * group_in..]
                    [..rows * columns * group_in];
                for (tap, weights) in window.chunks_exact(group_in).enumerate() {
                    for (i, &weight) in weights.iter().enumerate() {
                        let line = block * offsets.len() + tap * input.group / 4 + i / 4;
                        lines[line].0[4 * lane + i % 4] = weight;
                    }
                }
            }
            Group { lines, biases }
        };
        Self {
            stride: spec.stride as usize,
            shift: spec.shift,
            height: output.height as usize,
            width: output.width as usize,
            channels: output.channels as usize,
            group_out,
            groups: (0..groups).map(pack_group).collect(),
            taps: Taps::new(offsets),
        }
    }

    /// Calls `sink(y, x, first channel, sums)` for every position and block of up to 16 channels.
    fn run(
        &self,
        simd: Simd,
        layout: &Layout,
        input: &[u8],
        mut sink: impl FnMut(usize, usize, usize, &[i32]),
    ) {
        for (index, group) in self.groups.iter().enumerate() {
            for first in (0..group.biases.len()).step_by(BLOCKS) {
                let part = Part {
                    simd,
                    layout,
                    input,
                    index,
                    group,
                    first,
                };
                match group.biases.len() - first {
                    1 => self.run_blocks::<1>(&part, &mut sink),
                    _ => self.run_blocks::<BLOCKS>(&part, &mut sink),
                }
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
            index,
            group,
            first,
        } = *part;
        let place = |p: usize| (p / self.width, p % self.width);
        let bases: [usize; P] = std::array::from_fn(|p| {
            let (y, x) = place((start + p).min(positions - 1));
            y * self.stride * layout.row + x * self.stride * layout.pixel + index * layout.group
        });
        let lines = &group.lines[first * self.taps.len()..][..B * self.taps.len()];
        let biases: &[Lanes; B] = group.biases[first..]
            .first_chunk()
            .expect("B blocks are left");
        let mut acc = [Lanes::default(); TILE * BLOCKS];
        simd.dot(input, &bases, &self.taps, lines, biases, &mut acc);
        for p in 0..P.min(positions - start) {
            let (y, x) = place(start + p);
            for b in 0..B {
                let channel = (first + b) * LANES;
                let lanes = (self.group_out - channel).min(LANES);
                sink(
                    y,
                    x,
                    index * self.group_out + channel,
                    &acc[p * B + b].0[..lanes],
                );
            }
        }
    }
}

/// B blocks of one group of a convolution, at work.
#[derive(Clone, Copy)]
struct Part<'a> {
    simd: Simd,
    layout: &'a Layout,
    input: &'a [u8],
    index: usize,
    group: &'a Group,
    first: usize,
}
