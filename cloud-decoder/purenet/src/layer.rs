//! A convolution layer: sums of products, and their ends.

use std::cell::RefCell;

use kernels::{Lanes, Matrix, Reads, Simd};
use rayon::prelude::*;

use crate::arithmetic::Reading;
use crate::ends::{Ends, Piece, Requantization, Sums, blocks};
use crate::layer_tensors::LayerTensors;
use crate::rows::{MARGIN, Rows};

/// Windows whose sums are computed together: those of a panel stay in the first-level cache.
const STRIP: usize = 48;

/// A same-size convolution, packed.
pub(crate) struct Layer {
    simd: Simd,
    matrix: Matrix<u8>,
    kernel: usize,
    inputs: usize,
    outputs: usize,
    pub(crate) reading: Reading,
    requantization: Requantization,
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
    /// Packs tensors whose weights are in the order of windows.
    pub(crate) fn new(simd: Simd, tensors: &LayerTensors, inputs: usize, kernel: usize) -> Self {
        let (window, run) = (kernel * kernel * inputs, kernel * inputs);
        let starts = tensors.starts();
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
            outputs: tensors.bias.len(),
            reading: tensors.reading,
            requantization: Requantization {
                shift: tensors.shift,
                multipliers: blocks(&tensors.multipliers),
            },
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
        let (rows, width) = (ends.rows().max(1), ends.width(self.outputs));
        // Rows are cut where there are fewer of them than threads.
        let per_row = rayon::current_num_threads().div_ceil(rows);
        let per_row = per_row.min(width.div_ceil(STRIP)).max(1);
        let piece = width.div_ceil(per_row).max(1);
        let pieces = ends.pieces(self.outputs, first, piece);
        pieces.into_par_iter().for_each(|mut piece| {
            SCRATCH.with_borrow_mut(|scratch| self.piece(input, &mut piece, scratch));
        });
    }

    fn piece(&self, input: &Rows<u8>, piece: &mut Piece<'_>, scratch: &mut Scratch) {
        let Scratch {
            windows,
            reads,
            sums,
        } = scratch;
        let matrix = &self.matrix;
        let radius = self.radius();
        let lines = (piece.y + MARGIN - radius..).take(self.kernel);
        matrix.reads_into(lines.map(|line| input.place(line, radius)), reads);
        windows.clear();
        windows.extend((piece.x..piece.x + piece.width).map(|x| x * self.inputs));
        for panel in 0..matrix.panels() {
            let (first, outputs) = matrix.outputs(panel);
            let blocks = matrix.blocks(panel);
            for (strip, windows) in windows.chunks(STRIP).enumerate() {
                sums.resize(sums.len().max(STRIP * blocks), Lanes::default());
                let sums = &mut sums[..windows.len() * blocks];
                matrix.multiply(panel, reads, input.memory(), windows, sums);
                let sums = Sums {
                    sums,
                    blocks,
                    first,
                    outputs,
                    position: strip * STRIP,
                };
                piece.end(self.simd, &self.requantization, sums);
            }
        }
    }
}
