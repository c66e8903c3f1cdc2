//! The end of a convolution layer: requantized sums, what is added to them, and where they go.

use kernels::{LANES, Lanes, Simd, Words, Work};

use crate::arithmetic::{Block, Reading};
use crate::maps::Writes;
use crate::rows::Rows;

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

impl<'a> Ends<'a> {
    /// Rows of the layer.
    pub(crate) fn rows(&self) -> usize {
        self.writes.wide.len().max(self.writes.bytes.len()) / self.shuffle
    }

    /// Positions of a row of a layer with so many outputs.
    pub(crate) fn width(&self, outputs: usize) -> usize {
        let wide = self.writes.wide.first().map(|row| row.len());
        let bytes = self.writes.bytes.first().map(|row| row.len());
        wide.or(bytes).unwrap_or(0) / self.run(outputs)
    }

    /// Consecutive outputs of a position that go into the same row.
    fn run(&self, outputs: usize) -> usize {
        outputs / self.shuffle
    }

    /// The rows from row `first` on, cut to pieces of so many positions.
    pub(crate) fn pieces(self, outputs: usize, first: usize, piece: usize) -> Vec<Piece<'a>> {
        let (run, rows, width) = (self.run(outputs), self.rows(), self.width(outputs));
        let Self {
            relu,
            addend,
            shuffle,
            writes,
        } = self;
        let mut wide = (writes.wide.into_iter()).map(|row| row.chunks_mut(piece * run));
        let mut bytes = (writes.bytes.into_iter()).map(|row| row.chunks_mut(piece * run));
        let mut pieces = Vec::with_capacity(rows * width.div_ceil(piece));
        for y in first..first + rows {
            let mut wide: Vec<_> = wide.by_ref().take(shuffle).collect();
            let mut bytes: Vec<_> = bytes.by_ref().take(shuffle).collect();
            pieces.extend((0..width).step_by(piece).map(|x| Piece {
                y,
                x,
                width: piece.min(width - x),
                relu,
                addend: addend.map(|rows| &rows.row(y)[x * run..]),
                run,
                reading: writes.reading,
                wide: wide.iter_mut().filter_map(Iterator::next).collect(),
                bytes: bytes.iter_mut().filter_map(Iterator::next).collect(),
            }));
        }
        pieces
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
pub(crate) struct Piece<'a> {
    pub(crate) y: usize,
    pub(crate) x: usize,
    pub(crate) width: usize,
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

/// A layer's requantization.
pub(crate) struct Requantization {
    pub(crate) shift: u32,
    pub(crate) multipliers: Vec<Block<i16>>,
}

/// Sums of some neighbouring positions of a piece, for some outputs.
pub(crate) struct Sums<'a> {
    /// By position and block.
    pub(crate) sums: &'a [Lanes],
    pub(crate) blocks: usize,
    /// First output, and how many there are.
    pub(crate) first: usize,
    pub(crate) outputs: usize,
    /// First position in the piece.
    pub(crate) position: usize,
}

impl Piece<'_> {
    /// Ends sums of the piece.
    pub(crate) fn end(&mut self, simd: Simd, layer: &Requantization, sums: Sums<'_>) {
        let Sums {
            sums,
            blocks,
            first,
            outputs,
            position,
        } = sums;
        simd.vectorized(Finish {
            sums,
            blocks,
            shift: layer.shift,
            multipliers: &layer.multipliers[first / LANES..],
            first,
            outputs,
            position,
            piece: self,
        });
    }
}

/// [`Piece::end`].
struct Finish<'a, 'p> {
    sums: &'a [Lanes],
    blocks: usize,
    shift: u32,
    multipliers: &'a [Block<i16>],
    first: usize,
    outputs: usize,
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
