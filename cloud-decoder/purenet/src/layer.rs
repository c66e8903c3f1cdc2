//! A convolution layer: sums of products, requantized, and what follows in the same pass.

use std::cell::RefCell;

use kernels::{LANES, Lanes, Matrix, Reads, Simd, Words, Work};
use rayon::prelude::*;

use crate::arithmetic::{Block, Reading, half};
use crate::maps::Writes;
use crate::rows::{MARGIN, Rows};

/// Windows whose sums are computed together: those of a panel stay in the first-level cache.
const STRIP: usize = 48;

/// A layer's tensors, as `docs/formats.md` describes them, output channels in the order of the result.
pub(crate) struct LayerTensors {
    /// Output, input, kernel row, kernel column; to be packed, output, kernel row, kernel column, input.
    pub(crate) weights: Vec<i8>,
    pub(crate) bias: Vec<i32>,
    pub(crate) multipliers: Vec<i16>,
    pub(crate) reading: Reading,
    pub(crate) shift: u32,
}

impl LayerTensors {
    /// The same with the output channels of a position row by row and pixel by pixel, for PyTorch's pixel shuffle by
    /// `factor`, which takes them colour by colour. In this order the channels that become a run of a row lie side by
    /// side.
    pub(crate) fn sorted_for_shuffle(self, factor: usize) -> Self {
        let (outputs, pixels) = (self.bias.len(), factor * factor);
        let colours = outputs / pixels;
        let order: Vec<_> = (0..outputs)
            .map(|at| at % colours * pixels + at / colours)
            .collect();
        let kernels: Vec<_> = self
            .weights
            .chunks_exact(self.weights.len() / outputs)
            .collect();
        let weights = order.iter().flat_map(|&output| kernels[output]);
        Self {
            weights: weights.copied().collect(),
            bias: order.iter().map(|&output| self.bias[output]).collect(),
            multipliers: order
                .iter()
                .map(|&output| self.multipliers[output])
                .collect(),
            ..self
        }
    }

    /// From PyTorch's order of weights (output, input, row, column) to that of windows (output, row, column, input),
    /// whose input `i` is PyTorch's `input_of(i)`.
    pub(crate) fn channels_last(self, inputs: usize, input_of: impl Fn(usize) -> usize) -> Self {
        let window = self.weights.len() / self.bias.len();
        let area = window / inputs;
        let weights = self.weights.chunks_exact(window).flat_map(|kernel| {
            let places = (0..area).flat_map(|place| (0..inputs).map(move |input| (place, input)));
            places.map(|(place, input)| kernel[input_of(input) * area + place])
        });
        let weights = weights.collect();
        Self { weights, ..self }
    }
}

/// A same-size convolution, packed.
pub(crate) struct Layer {
    simd: Simd,
    matrix: Matrix<u8>,
    kernel: usize,
    inputs: usize,
    outputs: usize,
    pub(crate) reading: Reading,
    shift: u32,
    multipliers: Vec<Block<i16>>,
}

/// What follows the requantized outputs, and where they go.
pub(crate) struct Ends<'a> {
    /// Negative values become zero.
    pub(crate) relu: bool,
    /// Rows that are added, with as many channels.
    pub(crate) addend: Option<&'a Rows<i16>>,
    /// The factor of the pixel shuffle of the outputs, which are sorted by position; 1 is none.
    pub(crate) shuffle: usize,
    /// For each row of the layer, `shuffle` rows.
    pub(crate) writes: Writes<'a>,
}

/// Buffers of one thread.
#[derive(Default)]
struct Scratch {
    windows: Vec<usize>,
    reads: Reads,
    sums: Vec<Lanes>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Layer {
    pub(crate) fn new(simd: Simd, tensors: &LayerTensors, inputs: usize, kernel: usize) -> Self {
        let outputs = tensors.bias.len();
        let window = kernel * kernel * inputs;
        let zero = i32::from(tensors.reading.zero);
        // Bytes are multiplied as they are; `zero` is subtracted from all of them here.
        let starts = tensors.weights.chunks_exact(window).zip(&tensors.bias);
        let starts: Vec<i32> = starts
            .map(|(weights, bias)| {
                let sum: i32 = weights.iter().copied().map(i32::from).sum();
                let start = bias.wrapping_add(half(tensors.shift));
                start.wrapping_sub(zero.wrapping_mul(sum))
            })
            .collect();
        let run = kernel * inputs;
        let matrix = Matrix::new(
            simd,
            (kernel, run),
            u8::MAX,
            &starts,
            |row, value, output| tensors.weights[output * window + row * run + value],
        );
        Self {
            simd,
            matrix,
            kernel,
            inputs,
            outputs,
            reading: tensors.reading,
            shift: tensors.shift,
            multipliers: blocks(&tensors.multipliers),
        }
    }

    /// Rows of the input that a row depends on, above and below.
    pub(crate) fn radius(&self) -> usize {
        self.kernel / 2
    }

    /// Rows by which the output can be behind the input.
    pub(crate) fn lag(&self) -> usize {
        self.radius() + 1
    }

    /// Rows of the output that the rows of the input so far suffice for.
    pub(crate) fn ready(&self, input: &Rows<u8>) -> usize {
        let ready = input.reach().saturating_sub(self.radius());
        ready.min(input.height())
    }

    /// Computes rows of the layer, from row `first` on.
    pub(crate) fn convolve(&self, input: &Rows<u8>, first: usize, ends: Ends<'_>) {
        let pieces = self.pieces(first, ends);
        pieces.into_par_iter().for_each(|piece| {
            SCRATCH.with_borrow_mut(|scratch| self.piece(input, piece, scratch));
        });
    }

    /// Cuts the rows to pieces: as many as threads share well.
    fn pieces<'a>(&self, first: usize, ends: Ends<'a>) -> Vec<Piece<'a>> {
        let Ends {
            relu,
            addend,
            shuffle,
            writes,
        } = ends;
        let run = self.outputs / (shuffle * shuffle) * shuffle;
        let rows = writes.wide.len().max(writes.bytes.len()) / shuffle;
        let row = |rows: &[usize]| rows.iter().copied().max().unwrap_or(0);
        let lengths = [
            writes.wide.first().map_or(0, |row| row.len()),
            writes.bytes.first().map_or(0, |row| row.len()),
        ];
        let width = row(&lengths) / run;
        let threads = rayon::current_num_threads();
        let per_row = threads
            .div_ceil(rows.max(1))
            .min(width.div_ceil(STRIP))
            .max(1);
        let piece = width.div_ceil(per_row);
        let mut wide = writes
            .wide
            .into_iter()
            .map(|row| row.chunks_mut(piece * run));
        let mut bytes = writes
            .bytes
            .into_iter()
            .map(|row| row.chunks_mut(piece * run));
        let mut pieces = Vec::with_capacity(rows * per_row);
        for y in first..first + rows {
            let mut wide: Vec<_> = wide.by_ref().take(shuffle).collect();
            let mut bytes: Vec<_> = bytes.by_ref().take(shuffle).collect();
            for x in (0..width).step_by(piece) {
                pieces.push(Piece {
                    y,
                    x,
                    width: piece.min(width - x),
                    relu,
                    addend: addend.map(|rows| &rows.row(y)[x * run..]),
                    run,
                    reading: writes.reading,
                    wide: wide.iter_mut().filter_map(Iterator::next).collect(),
                    bytes: bytes.iter_mut().filter_map(Iterator::next).collect(),
                });
            }
        }
        pieces
    }

    fn piece(&self, input: &Rows<u8>, mut piece: Piece<'_>, scratch: &mut Scratch) {
        let Scratch {
            windows,
            reads,
            sums,
        } = scratch;
        let radius = self.radius();
        let line = piece.y + MARGIN - radius;
        let places = (line..)
            .take(self.kernel)
            .map(|line| input.place(line, radius));
        self.matrix.reads_into(places, reads);
        windows.clear();
        windows.extend((piece.x..piece.x + piece.width).map(|x| x * self.inputs));
        for panel in 0..self.matrix.panels() {
            let (first, outputs) = self.matrix.outputs(panel);
            let blocks = self.matrix.blocks(panel);
            for (strip, windows) in windows.chunks(STRIP).enumerate() {
                sums.resize(STRIP * blocks, Lanes::default());
                let sums = &mut sums[..windows.len() * blocks];
                self.matrix
                    .multiply(panel, reads, input.memory(), windows, sums);
                self.simd.vectorized(Finish {
                    sums,
                    blocks,
                    shift: self.shift,
                    multipliers: &self.multipliers[first / LANES..],
                    first,
                    outputs,
                    position: strip * STRIP,
                    piece: &mut piece,
                });
            }
        }
    }
}

/// Values in blocks, the last one filled with zeros.
pub(crate) fn blocks(values: &[i16]) -> Vec<Block<i16>> {
    let blocks = values.chunks(LANES).map(|values| {
        let mut block = [0; LANES];
        block[..values.len()].copy_from_slice(values);
        block
    });
    blocks.collect()
}

/// Some neighbouring positions of a row of the layer.
struct Piece<'a> {
    y: usize,
    x: usize,
    width: usize,
    relu: bool,
    /// Values to add to those of the piece.
    addend: Option<&'a [i16]>,
    /// Consecutive outputs of a position that go into the same row.
    run: usize,
    reading: Reading,
    /// For each run of outputs, the piece of its row.
    wide: Vec<&'a mut [i16]>,
    bytes: Vec<&'a mut [u8]>,
}

/// The end of a layer for a strip of windows and a panel of outputs.
struct Finish<'a, 'p> {
    sums: &'a [Lanes],
    blocks: usize,
    shift: u32,
    multipliers: &'a [Block<i16>],
    /// First output of the panel, and how many it has.
    first: usize,
    outputs: usize,
    /// First position of the strip in the piece.
    position: usize,
    piece: &'a mut Piece<'p>,
}

// No closure has vectors: only functions that are always inlined are compiled for the instructions.
impl Work for Finish<'_, '_> {
    #[inline(always)]
    fn run<W: Words>(self) {
        let Piece {
            run, addend, relu, ..
        } = *self.piece;
        for (block, multipliers) in self.multipliers.iter().take(self.blocks).enumerate() {
            let output = self.first + block * LANES;
            let count = (self.first + self.outputs - output).min(LANES);
            let sums = self.sums[block..].iter().step_by(self.blocks);
            if count == LANES && run.is_multiple_of(LANES) {
                let (row, at) = (output / run, self.position * run + output % run);
                let mut place = self.piece.place(row, at);
                let mut addend = addend.map(|rows| &rows[at..]);
                for sums in sums {
                    let mut values = W::requantized(sums, self.shift, multipliers);
                    if let Some(rows) = addend {
                        values = values.plus(W::load(rows.first_chunk().expect("an addend")));
                        addend = Some(rows.get(run..).unwrap_or_default());
                    }
                    if relu {
                        values = values.relu();
                    }
                    place.put(values);
                }
                continue;
            }
            for (position, sums) in (self.position..).zip(sums) {
                let mut values = W::requantized(sums, self.shift, multipliers);
                if let Some(rows) = addend {
                    let mut block = [0; LANES];
                    block[..count].copy_from_slice(&rows[position * run + output..][..count]);
                    values = values.plus(W::load(&block));
                }
                if relu {
                    values = values.relu();
                }
                self.piece.put_some(position, output, count, values);
            }
        }
    }
}

/// Where the same block of consecutive positions goes.
struct BlockPlace<'a> {
    run: usize,
    reading: Reading,
    wide: &'a mut [i16],
    bytes: &'a mut [u8],
}

impl BlockPlace<'_> {
    /// Writes the block of the next position.
    #[inline(always)]
    fn put<W: Words>(&mut self, values: W) {
        if let Some(place) = self.wide.first_chunk_mut() {
            values.store(place);
            let rest = std::mem::take(&mut self.wide);
            self.wide = rest.get_mut(self.run..).unwrap_or_default();
        }
        if let Some(place) = self.bytes.first_chunk_mut() {
            self.reading.store(values, place);
            let rest = std::mem::take(&mut self.bytes);
            self.bytes = rest.get_mut(self.run..).unwrap_or_default();
        }
    }
}

impl Piece<'_> {
    /// The places of a block from the value `at` of a row on.
    #[inline(always)]
    fn place(&mut self, row: usize, at: usize) -> BlockPlace<'_> {
        let wide = self.wide.get_mut(row).map(|row| &mut row[at..]);
        let bytes = self.bytes.get_mut(row).map(|row| &mut row[at..]);
        BlockPlace {
            run: self.run,
            reading: self.reading,
            wide: wide.unwrap_or_default(),
            bytes: bytes.unwrap_or_default(),
        }
    }

    /// Writes the first outputs of a block of a position, whichever rows they go into.
    #[inline(always)]
    fn put_some<W: Words>(&mut self, position: usize, output: usize, count: usize, values: W) {
        let (mut wide, mut bytes) = ([0; LANES], [0; LANES]);
        values.store(&mut wide);
        self.reading.store(values, &mut bytes);
        match self.run {
            run if run.is_multiple_of(8) => {
                self.spread::<8>(position, output, &wide[..count], &bytes[..count]);
            }
            run if run.is_multiple_of(4) => {
                self.spread::<4>(position, output, &wide[..count], &bytes[..count]);
            }
            _ => self.spread::<1>(position, output, &wide[..count], &bytes[..count]),
        }
    }

    /// Writes outputs N at a time, which go into the same row.
    #[inline(always)]
    fn spread<const N: usize>(
        &mut self,
        position: usize,
        first: usize,
        wide: &[i16],
        bytes: &[u8],
    ) {
        let (wide, _) = wide.as_chunks::<N>();
        let (bytes, _) = bytes.as_chunks::<N>();
        for (output, (wide, bytes)) in (first..).step_by(N).zip(wide.iter().zip(bytes)) {
            let (row, at) = (output / self.run, position * self.run + output % self.run);
            if let Some(row) = self.wide.get_mut(row) {
                *row[at..].first_chunk_mut().expect("place for values") = *wide;
            }
            if let Some(row) = self.bytes.get_mut(row) {
                *row[at..].first_chunk_mut().expect("place for bytes") = *bytes;
            }
        }
    }
}
