//! A program repacked for the vector kernels, and its run from layer to layer.

use crate::banks::PackedConv;
use crate::layout::{Layout, clear, max_pool};
use crate::reference::quantize;
use crate::simd::{LANES, Simd};
use crate::{Layer, Op, PATCH, PATCH_BYTES, Pool, Program};

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
    /// Sums of the stored kernels, where channels share them.
    sums: Vec<i32>,
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
        let Scratch {
            input,
            output,
            sums,
        } = scratch;
        let (first, _) = &self.layers[0];
        clear(input, first);
        for (index, pixel) in pixels.chunks_exact(3).enumerate() {
            first.put(input, first.at(index / PATCH, index % PATCH), 0, pixel);
        }
        for (index, (layout, op)) in self.layers.iter().enumerate() {
            match (op, self.layers.get(index + 1)) {
                (PackedOp::Conv(conv), Some((next, _))) => {
                    clear(output, next);
                    conv.run(self.simd, layout, input, sums, |y, x, channel, sums| {
                        let mut codes = [0; LANES];
                        for (code, &acc) in codes.iter_mut().zip(sums) {
                            *code = quantize(acc, conv.shift);
                        }
                        next.put(output, next.at(y, x), channel, &codes[..sums.len()]);
                    });
                }
                (PackedOp::Conv(conv), None) => {
                    conv.run(self.simd, layout, input, sums, |y, x, channel, sums| {
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
