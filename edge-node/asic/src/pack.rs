//! A program repacked for the vector kernels, and its run from layer to layer.

use crate::banks::Banks;
use crate::layout::{Layout, max_pool};
use crate::reference::quantize;
use crate::rows::{ROW, Row, RowConv, reads_rows};
use crate::simd::{LANES, Simd};
use crate::{Layer, Op, PATCH, PATCH_BYTES, Pool, Program};

/// Bytes of maps that a batch should not exceed, so that they stay in the core's own cache.
const BATCH_BYTES: usize = 1 << 18;

#[derive(Debug)]
enum PackedOp {
    Conv { banks: Banks, shift: u32 },
    Rows(RowConv),
    Pool(Pool),
}

#[derive(Debug)]
struct PackedLayer {
    op: PackedOp,
    /// What it reads lies like this, or as a row of codes a channel.
    input: Layout,
    reads_rows: bool,
}

/// A program repacked once, for one instruction set.
#[derive(Debug)]
pub(crate) struct Packed {
    simd: Simd,
    layers: Vec<PackedLayer>,
}

/// Buffers of one thread; they grow to what its programs need and stay.
#[derive(Default)]
pub(crate) struct Scratch {
    input: Vec<u8>,
    output: Vec<u8>,
    windows: Vec<usize>,
    /// Where the output of each window goes.
    places: Vec<usize>,
    rows: Vec<Row<i32>>,
}

/// Where the results of a batch go, patch after patch.
pub(crate) enum Target<'a> {
    /// Packed latent bits, zero before.
    Bits(&'a mut [u8]),
    /// One logit a label.
    Logits(&'a mut [i32]),
}

impl Packed {
    pub(crate) fn new(program: &Program, simd: Simd) -> Self {
        let layers = program.layers();
        let rows = |index: usize| match layers.get(index).map(|layer| &layer.op) {
            Some(Op::Conv(conv)) if index > 0 && matches!(layers[index - 1].op, Op::Conv(_)) => {
                reads_rows(conv, layers[index].input)
            }
            _ => false,
        };
        let pack = |(index, layer): (usize, &Layer)| {
            let (input, reads_rows) = (Layout::read_by(layer), rows(index));
            let op = match &layer.op {
                Op::Pool(pool) => PackedOp::Pool(*pool),
                Op::Conv(conv) if reads_rows || rows(index + 1) || conv.wiring.shared.is_some() => {
                    PackedOp::Rows(RowConv::new(conv, layer, &input, reads_rows))
                }
                Op::Conv(conv) => {
                    let conv = conv.whole(layer.input);
                    PackedOp::Conv {
                        banks: Banks::new(&conv, Some(&conv.biases), &input, layer.output),
                        shift: conv.spec.shift,
                    }
                }
            };
            PackedLayer {
                op,
                input,
                reads_rows,
            }
        };
        Self {
            simd,
            layers: layers.iter().enumerate().map(pack).collect(),
        }
    }

    /// Patches to run together.
    pub(crate) fn batch(&self) -> usize {
        let largest = self.layers.iter().map(|layer| layer.input.len()).max();
        (BATCH_BYTES / largest.unwrap_or(1)).clamp(1, ROW)
    }

    /// Runs the program on a batch of at most [`Self::batch`] patches; `target` has the program's kind and their size.
    pub(crate) fn run(&self, pixels: &[u8], scratch: &mut Scratch, target: &mut Target<'_>) {
        let patches = pixels.len() / PATCH_BYTES;
        let first = &self.layers[0].input;
        first.clear(&mut scratch.input, patches);
        for (index, row) in pixels.chunks_exact(PATCH * 3).enumerate() {
            let at = first.at(index / PATCH, index % PATCH, 0);
            scratch.input[at..at + row.len()].copy_from_slice(row);
        }
        for (index, layer) in self.layers.iter().enumerate() {
            let next = self.layers.get(index + 1);
            if let Some(next) = next {
                if next.reads_rows {
                    let channels = next.input.map.channels as usize;
                    scratch.output.resize(channels * ROW, 0);
                } else {
                    next.input.clear(&mut scratch.output, patches);
                    scratch.places.clear();
                    scratch.places.extend(next.input.pixels(patches));
                }
            }
            layer.run(self.simd, patches, next, scratch, target);
            std::mem::swap(&mut scratch.input, &mut scratch.output);
        }
    }
}

impl PackedLayer {
    /// From the scratch's input to its output, or to the target.
    fn run(
        &self,
        simd: Simd,
        patches: usize,
        next: Option<&Self>,
        scratch: &mut Scratch,
        target: &mut Target<'_>,
    ) {
        let Scratch {
            input,
            output,
            windows,
            places,
            rows,
        } = scratch;
        match &self.op {
            PackedOp::Pool(pool) => {
                let next = &next.expect("a program ends in a convolution").input;
                max_pool(pool, &self.input, input, next, output, patches);
            }
            PackedOp::Conv { banks, shift } => {
                windows.clear();
                windows.extend(banks.windows(&self.input, patches));
                if next.is_none() {
                    let channels = target.len() / windows.len();
                    banks.run(
                        simd,
                        input,
                        windows,
                        &mut |window, channel, sums: &[i32]| {
                            for (index, &sum) in (window * channels + channel..).zip(sums) {
                                target.put(index, sum);
                            }
                        },
                    );
                    return;
                }
                banks.run(
                    simd,
                    input,
                    windows,
                    &mut |window, channel, sums: &[i32]| {
                        let mut codes = [0; LANES];
                        for (code, &acc) in codes.iter_mut().zip(sums) {
                            *code = quantize(acc, *shift);
                        }
                        output[places[window] + channel..][..sums.len()]
                            .copy_from_slice(&codes[..sums.len()]);
                    },
                );
            }
            PackedOp::Rows(conv) => {
                conv.windows(&self.input, patches, windows);
                for (part, chunk) in windows.chunks(ROW).enumerate() {
                    let first = part * ROW;
                    match next {
                        None => {
                            let channels = target.len() / windows.len();
                            conv.run(simd, input, chunk, rows, |channel, sums| {
                                let indices = (first * channels + channel..).step_by(channels);
                                for (index, &sum) in indices.zip(&sums[..chunk.len()]) {
                                    target.put(index, sum);
                                }
                            });
                        }
                        Some(next) if next.reads_rows => {
                            let (output, _) = output.as_chunks_mut::<ROW>();
                            conv.run(simd, input, chunk, rows, |channel, sums| {
                                output[channel] = conv.codes(sums);
                            });
                        }
                        Some(_) => conv.run(simd, input, chunk, rows, |channel, sums| {
                            let codes = conv.codes(sums);
                            for (&place, &code) in places[first..].iter().zip(&codes[..chunk.len()])
                            {
                                output[place + channel] = code;
                            }
                        }),
                    }
                }
            }
        }
    }
}

impl Target<'_> {
    /// Outputs of the batch.
    fn len(&self) -> usize {
        match self {
            Self::Bits(bits) => 8 * bits.len(),
            Self::Logits(logits) => logits.len(),
        }
    }

    #[inline(always)]
    fn put(&mut self, index: usize, sum: i32) {
        match self {
            Self::Logits(logits) => logits[index] = sum,
            Self::Bits(bits) => bits[index / 8] |= u8::from(sum >= 0) << (index % 8),
        }
    }
}
