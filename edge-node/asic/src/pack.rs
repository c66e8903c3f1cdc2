//! A program repacked for the vector kernels, and its run from layer to layer.

use kernels::{Aligned, Lanes, Simd};

use crate::banks::Banks;
use crate::layout::{Layout, max_pool};
use crate::rows::{ROW, Row, RowConv, reads_rows};
use crate::sinks::{CodeMaps, CodeRows, Results, Target, WindowCodes};
use crate::{Layer, Op, PATCH, PATCH_BYTES, Pool, Program};

/// Most bytes of a batch's maps, so that they stay in the core's own cache.
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
    /// Layout of its input, unless that is a row of codes per channel.
    input: Layout,
    reads_rows: bool,
}

/// A program repacked once, for one instruction set.
#[derive(Debug)]
pub(crate) struct Packed {
    simd: Simd,
    layers: Vec<PackedLayer>,
}

/// Buffers of one thread. They grow to the size that its programs need and stay.
#[derive(Default)]
pub(crate) struct Scratch {
    input: Aligned<u8>,
    output: Aligned<u8>,
    windows: Vec<usize>,
    /// First byte of the output of each window.
    places: Vec<usize>,
    sums: Vec<Lanes>,
    rows: Vec<Row<i32>>,
}

impl Packed {
    pub(crate) fn new(program: &Program, simd: Simd) -> Self {
        let layers = program.layers();
        let by_rows = |index: usize| match layers.get(index).map(|layer| &layer.op) {
            Some(Op::Conv(conv)) if index > 0 && matches!(layers[index - 1].op, Op::Conv(_)) => {
                reads_rows(conv, layers[index].input)
            }
            _ => false,
        };
        let pack = |(index, layer): (usize, &Layer)| {
            let (input, reads_rows) = (Layout::read_by(layer), by_rows(index));
            let op = match &layer.op {
                Op::Pool(pool) => PackedOp::Pool(*pool),
                Op::Conv(conv)
                    if reads_rows || by_rows(index + 1) || conv.wiring.shared.is_some() =>
                {
                    PackedOp::Rows(RowConv::new(simd, conv, layer, &input, reads_rows))
                }
                Op::Conv(conv) => {
                    let conv = conv.whole(layer.input);
                    PackedOp::Conv {
                        banks: Banks::new(simd, &conv, Some(&conv.biases), &input, layer.output),
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

    /// Runs the program on a batch of at most [`Self::batch`] patches, whose pixels `fill(patch, pixels)` writes;
    /// `target` has the program's kind and their size.
    pub(crate) fn run(
        &self,
        patches: usize,
        fill: impl Fn(usize, &mut [u8; PATCH_BYTES]),
        scratch: &mut Scratch,
        target: &mut Target<'_>,
    ) {
        let first = &self.layers[0].input;
        first.prepare(&mut scratch.input, patches);
        if first.len() == PATCH_BYTES {
            let (maps, _) = scratch.input.as_chunks_mut();
            (0..patches).for_each(|patch| fill(patch, &mut maps[patch]));
        } else {
            let mut pixels = [0; PATCH_BYTES];
            for patch in 0..patches {
                fill(patch, &mut pixels);
                for (y, row) in pixels.chunks_exact(PATCH * 3).enumerate() {
                    let at = first.at(patch, y, 0);
                    scratch.input[at..at + row.len()].copy_from_slice(row);
                }
            }
        }
        for (index, layer) in self.layers.iter().enumerate() {
            let next = self.layers.get(index + 1);
            if let Some(next) = next {
                if next.reads_rows {
                    let channels = next.input.map.channels as usize;
                    scratch.output.resize(channels * ROW);
                } else {
                    match layer.op {
                        PackedOp::Pool(_) => next.input.clear(&mut scratch.output, patches),
                        PackedOp::Conv { .. } | PackedOp::Rows(_) => {
                            next.input.prepare(&mut scratch.output, patches);
                        }
                    }
                    next.input.pixels(patches, &mut scratch.places);
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
        match &self.op {
            PackedOp::Pool(pool) => {
                let next = &next.expect("a program ends in a convolution").input;
                let Scratch {
                    input,
                    output,
                    places,
                    ..
                } = scratch;
                max_pool(pool, &self.input, input, next, output, places);
            }
            PackedOp::Conv { banks, shift } => {
                banks.windows(&self.input, patches, &mut scratch.windows);
                run_banks(banks, *shift, simd, next.is_none(), scratch, target);
            }
            PackedOp::Rows(conv) => {
                conv.windows(&self.input, patches, &mut scratch.windows);
                run_rows(conv, simd, next, scratch, target);
            }
        }
    }
}

/// A convolution window by window: codes for the next layer, or results if it is the last.
fn run_banks(
    banks: &Banks,
    shift: u32,
    simd: Simd,
    last: bool,
    scratch: &mut Scratch,
    target: &mut Target<'_>,
) {
    let Scratch {
        input,
        output,
        windows,
        places,
        sums,
        ..
    } = scratch;
    if last {
        let channels = target.len() / windows.len();
        return banks.run(input, windows, sums, &mut |panel| {
            for (window, sums) in panel.windows() {
                let sums = sums.iter().flat_map(|sums| sums.0).take(panel.kernels);
                for (index, sum) in (window * channels + panel.kernel..).zip(sums) {
                    target.put(index, sum);
                }
            }
        });
    }
    banks.run(input, windows, sums, &mut |panel| {
        simd.vectorized(WindowCodes {
            panel,
            bytes: output,
            places,
            shift,
        });
    });
}

/// The same row by row.
fn run_rows(
    conv: &RowConv,
    simd: Simd,
    next: Option<&PackedLayer>,
    scratch: &mut Scratch,
    target: &mut Target<'_>,
) {
    let Scratch {
        input,
        output,
        windows,
        places,
        sums,
        rows,
    } = scratch;
    let shift = conv.shift;
    for (part, chunk) in windows.chunks(ROW).enumerate() {
        let first = part * ROW;
        match next {
            None => {
                let channels = target.len() / windows.len();
                let sink = Results {
                    target,
                    channels,
                    first,
                    count: chunk.len(),
                    bytes: [0; ROW],
                };
                conv.run(simd, input, chunk, sums, rows, sink);
            }
            Some(next) if next.reads_rows => {
                let (rows_out, _) = output.as_chunks_mut();
                let sink = CodeRows {
                    rows: rows_out,
                    shift,
                };
                conv.run(simd, input, chunk, sums, rows, sink);
            }
            Some(_) => {
                let sink = CodeMaps {
                    bytes: output,
                    places: &places[first..first + chunk.len()],
                    shift,
                };
                conv.run(simd, input, chunk, sums, rows, sink);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kernels::Kernel;
    use proptest::prelude::*;

    use super::*;
    use crate::common::{Noise, programs};
    use crate::{Output, Task, reference};

    /// Two patches at once, packed for plain code, are what the reference makes of each.
    fn agrees(program: &Program, seed: u64) -> Result<(), TestCaseError> {
        let simd = Simd::detect(Kernel::Scalar).expect("plain code runs everywhere");
        let packed = Packed::new(program, simd);
        let patches = packed.batch().min(2);
        let pixels = Noise(seed).bytes(patches * PATCH_BYTES);
        let (pixels, _) = pixels.as_chunks::<PATCH_BYTES>();
        let count = program.output().count() as usize;
        let (mut bits, mut logits) = (vec![0; patches * count / 8], vec![0; patches * count]);
        let mut target = match program.task() {
            Task::Compress => Target::Bits(&mut bits),
            Task::Classify => Target::Logits(&mut logits),
        };
        let fill = |patch: usize, to: &mut [u8; PATCH_BYTES]| *to = pixels[patch];
        packed.run(patches, fill, &mut Scratch::default(), &mut target);
        for (patch, pixels) in pixels.iter().enumerate() {
            match reference::run(program, pixels) {
                Output::Bits(expected) => {
                    prop_assert_eq!(&bits[patch * count / 8..][..count / 8], expected);
                }
                Output::Logits(expected) => {
                    prop_assert_eq!(&logits[patch * count..][..count], expected);
                }
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn packed_programs_equal_the_reference_in_plain_code(program in programs(), seed: u64) {
            agrees(&program, seed)?;
        }
    }

    #[test]
    fn the_shipped_programs_run_packed() {
        for bytes in [patchwire_models::COMPRESS, patchwire_models::CLASSIFY] {
            agrees(&Program::from_bytes(bytes).unwrap(), 7).unwrap();
        }
    }
}
