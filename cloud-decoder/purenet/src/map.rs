//! Feature maps with a margin of zeros.

use crate::layout::Shape;
use ndarray::Array3;
use rayon::prelude::*;

/// Zeros around a map, in positions: the radius of the largest kernel.
pub(crate) const MARGIN: usize = 2;

/// A feature map of a band of patches: (row, column, channel), rows and columns with [`MARGIN`] zeros
/// at both ends.
#[derive(Clone)]
pub(crate) struct Map {
    data: Array3<f32>,
}

impl Map {
    /// Zeros for `rows` x `columns` patches.
    pub(crate) fn zeros(shape: Shape, rows: usize, columns: usize) -> Self {
        let side = |patches| patches * shape.side + 2 * MARGIN;
        Self {
            data: Array3::zeros((side(rows), side(columns), shape.channels)),
        }
    }

    /// Rows without margins.
    pub(crate) fn height(&self) -> usize {
        self.data.dim().0 - 2 * MARGIN
    }

    /// Columns without margins.
    pub(crate) fn width(&self) -> usize {
        self.data.dim().1 - 2 * MARGIN
    }

    pub(crate) fn channels(&self) -> usize {
        self.data.dim().2
    }

    /// Values from a row to the next.
    pub(crate) fn row_stride(&self) -> usize {
        self.data.dim().1 * self.channels()
    }

    /// All values from position (`y`, `x`) on, counted with margins.
    pub(crate) fn from(&self, y: usize, x: usize) -> &[f32] {
        &self.values()[y * self.row_stride() + x * self.channels()..]
    }

    /// The values of row `y`, without margins.
    pub(crate) fn row(&self, y: usize) -> &[f32] {
        &self.from(y + MARGIN, MARGIN)[..self.width() * self.channels()]
    }

    /// Runs `write` in parallel on strips of `strip` rows, given the index of the strip's first row and
    /// each row without its margins.
    pub(crate) fn par_strips(
        &mut self,
        strip: usize,
        write: impl Fn(usize, &mut [&mut [f32]]) + Sync,
    ) {
        let (stride, channels) = (self.row_stride(), self.channels());
        let inner = MARGIN * channels..stride - MARGIN * channels;
        let rows = MARGIN * stride..(MARGIN + self.height()) * stride;
        let data = self.data.as_slice_mut().expect("maps are made contiguous");
        data[rows]
            .par_chunks_mut(strip * stride)
            .enumerate()
            .for_each(|(index, chunk)| {
                let mut rows: Vec<&mut [f32]> = chunk
                    .chunks_exact_mut(stride)
                    .map(|row| &mut row[inner.clone()])
                    .collect();
                write(index * strip, &mut rows);
            });
    }

    /// Writes PyTorch's pixel shuffle of `source` into `self`.
    pub(crate) fn pixel_shuffle(&mut self, source: &Map, factor: usize) {
        let (channels, depth) = (self.channels(), source.channels());
        self.par_strips(factor, |first, rows| {
            let input = source.row(first / factor);
            for (dy, row) in rows.iter_mut().enumerate() {
                for (pixels, input) in row
                    .chunks_exact_mut(factor * channels)
                    .zip(input.chunks_exact(depth))
                {
                    for (dx, pixel) in pixels.chunks_exact_mut(channels).enumerate() {
                        let values = input[dy * factor + dx..].iter().step_by(factor * factor);
                        for (out, &value) in pixel.iter_mut().zip(values) {
                            *out = value;
                        }
                    }
                }
            }
        });
    }

    /// Writes PyTorch's pixel unshuffle of `source` into `self`: what undoes [`Self::pixel_shuffle`].
    pub(crate) fn pixel_unshuffle(&mut self, source: &Map, factor: usize) {
        let (depth, channels) = (self.channels(), source.channels());
        self.par_strips(1, |y, rows| {
            for dy in 0..factor {
                let input = source.row(y * factor + dy).chunks_exact(factor * channels);
                for (position, pixels) in rows[0].chunks_exact_mut(depth).zip(input) {
                    for (dx, pixel) in pixels.chunks_exact(channels).enumerate() {
                        let values = position[dy * factor + dx..]
                            .iter_mut()
                            .step_by(factor * factor);
                        for (out, &value) in values.zip(pixel) {
                            *out = value;
                        }
                    }
                }
            }
        });
    }

    /// Adds a map of the same shape.
    pub(crate) fn add(&mut self, other: &Map) {
        self.par_strips(1, |y, rows| {
            for (out, &value) in rows[0].iter_mut().zip(other.row(y)) {
                *out += value;
            }
        });
    }

    fn values(&self) -> &[f32] {
        self.data.as_slice().expect("maps are made contiguous")
    }
}
