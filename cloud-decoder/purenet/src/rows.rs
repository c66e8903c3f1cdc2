//! Feature maps that pass by, of which only the rows still needed are held.

use crate::shape::Shape;
use crate::value::{Aligned, Value};

/// Zeros around a map, in positions: the radius of the largest kernel.
pub(crate) const MARGIN: usize = 2;

/// Consecutive rows of a feature map, channels last, in a ring. The map has [`MARGIN`] positions of zeros on all sides;
/// rows are counted without them, lines with them.
pub(crate) struct Rows<V> {
    /// One slot a row. The margins of a slot are never written, and so stay zero.
    ring: Aligned<V>,
    slots: usize,
    width: usize,
    channels: usize,
    height: usize,
    /// First line held.
    first: usize,
    /// Line after the last one held.
    end: usize,
}

impl<V: Value> Rows<V> {
    /// The map of a frame of `rows` x `columns` patches before any of its rows is there, with room for so many of them.
    pub(crate) fn new(shape: Shape, rows: usize, columns: usize, room: usize) -> Self {
        let (height, width) = (rows * shape.side, columns * shape.side);
        let slots = room.min(height) + 2 * MARGIN;
        Self {
            ring: Aligned::zeros(slots * (width + 2 * MARGIN) * shape.channels),
            slots,
            width,
            channels: shape.channels,
            height,
            first: 0,
            end: MARGIN,
        }
    }

    /// Begins again with the first row.
    pub(crate) fn restart(&mut self) {
        (self.first, self.end) = (0, MARGIN);
        let margin = MARGIN * self.stride();
        self.ring.values_mut()[..margin].fill(V::ZERO);
    }

    /// Bytes that [`Rows::new`] takes.
    pub(crate) fn bytes(shape: Shape, rows: usize, columns: usize, room: usize) -> usize {
        let slots = room.min(rows * shape.side) + 2 * MARGIN;
        slots * (columns * shape.side + 2 * MARGIN) * shape.channels * size_of::<V>()
    }

    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        size_of_val(self.ring.values())
    }

    pub(crate) fn channels(&self) -> usize {
        self.channels
    }

    /// Rows that have come so far.
    pub(crate) fn len(&self) -> usize {
        (self.end - MARGIN).min(self.height)
    }

    /// Rows that have come so far, with the margin below once the map is complete.
    pub(crate) fn reach(&self) -> usize {
        self.end - MARGIN
    }

    /// All rows of the map.
    pub(crate) fn height(&self) -> usize {
        self.height
    }

    fn stride(&self) -> usize {
        (self.width + 2 * MARGIN) * self.channels
    }

    /// A line with its margins; row `y` is line `y + MARGIN`.
    pub(crate) fn line(&self, line: usize) -> &[V] {
        &self.long_line(line)[..self.stride()]
    }

    /// A line with its margins and the values in memory after it, whatever they are: enough for a read of a whole tile.
    pub(crate) fn long_line(&self, line: usize) -> &[V] {
        debug_assert!(
            (self.first..self.end).contains(&line),
            "line {line} is not held"
        );
        let stride = self.stride();
        let start = line % self.slots * stride;
        &self.ring.with_spare()[start..][..stride + Aligned::<V>::SPARE]
    }

    /// Row `y` without margins.
    pub(crate) fn row(&self, y: usize) -> &[V] {
        &self.line(y + MARGIN)[MARGIN * self.channels..][..self.width * self.channels]
    }

    /// Adds rows and gives them, without margins and with any content.
    pub(crate) fn append(&mut self, count: usize) -> Vec<&mut [V]> {
        if count == 0 {
            return Vec::new();
        }
        let start = self.end;
        let below = if self.len() + count == self.height {
            MARGIN
        } else {
            0
        };
        self.make_room(count + below);
        self.end += count + below;
        let (stride, slots) = (self.stride(), self.slots);
        for line in start + count..self.end {
            self.ring.values_mut()[line % slots * stride..][..stride].fill(V::ZERO);
        }
        let (begin, rest) = self.ring.values_mut().split_at_mut(start % slots * stride);
        let inner = MARGIN * self.channels..stride - MARGIN * self.channels;
        let slots = rest
            .chunks_exact_mut(stride)
            .chain(begin.chunks_exact_mut(stride));
        slots
            .take(count)
            .map(|slot| &mut slot[inner.clone()])
            .collect()
    }

    /// Adds rows up to row `until`, as [`Rows::append`]; the number of the first of them, too.
    pub(crate) fn append_until(&mut self, until: usize) -> (usize, Vec<&mut [V]>) {
        let first = self.len();
        (first, self.append(until - first))
    }

    /// Lets go of the rows that no window of `radius` around row `y` or below needs.
    pub(crate) fn release(&mut self, y: usize, radius: usize) {
        self.first = self
            .first
            .max((y + MARGIN).saturating_sub(radius))
            .min(self.end);
    }

    fn make_room(&mut self, count: usize) {
        let needed = self.end - self.first + count;
        if needed <= self.slots {
            return;
        }
        let (slots, stride) = (needed.max(self.slots * 3 / 2), self.stride());
        let mut ring = Aligned::zeros(slots * stride);
        for line in self.first..self.end {
            let place = &mut ring.values_mut()[line % slots * stride..][..stride];
            place.copy_from_slice(self.line(line));
        }
        (self.ring, self.slots) = (ring, slots);
    }
}

/// The values of row `y`, of the `factor` rows that a row holds one after the other at each position.
pub(crate) fn runs<V>(
    input: &[V],
    depth: usize,
    factor: usize,
    y: usize,
) -> impl Iterator<Item = &[V]> {
    let run = depth / factor;
    let positions = input.chunks_exact(depth);
    positions.map(move |values| &values[y * run..][..run])
}

/// Writes a row into the `factor` rows that it holds.
pub(crate) fn spread<V: Value>(input: &[V], depth: usize, output: &mut [&mut [V]]) {
    let factor = output.len();
    for (y, row) in output.iter_mut().enumerate() {
        let values = row.chunks_exact_mut(depth / factor);
        for (values, run) in values.zip(runs(input, depth, factor, y)) {
            values.copy_from_slice(run);
        }
    }
}

/// Writes PyTorch's pixel shuffle of a row into `factor` rows.
pub(crate) fn shuffle<V: Value>(input: &[V], depth: usize, output: &mut [&mut [V]]) {
    let factor = output.len();
    let area = factor * factor;
    let channels = depth / area;
    for (dy, row) in output.iter_mut().enumerate() {
        let positions = row.chunks_exact_mut(factor * channels);
        for (pixels, input) in positions.zip(input.chunks_exact(depth)) {
            let run = |channel: usize| &input[channel * area + dy * factor..][..factor];
            if let (pixels, []) = pixels.as_chunks_mut::<3>()
                && channels == 3
            {
                let colours = run(0).iter().zip(run(1)).zip(run(2));
                for (pixel, ((&red, &green), &blue)) in pixels.iter_mut().zip(colours) {
                    *pixel = [red, green, blue];
                }
                continue;
            }
            for channel in 0..channels {
                let values = pixels[channel..].iter_mut().step_by(channels);
                values
                    .zip(run(channel))
                    .for_each(|(out, &value)| *out = value);
            }
        }
    }
}

/// Writes PyTorch's pixel unshuffle of `factor` rows into one: what undoes [`shuffle`].
pub(crate) fn unshuffle<'a, V: Value>(
    input: impl ExactSizeIterator<Item = &'a [f32]>,
    channels: usize,
    output: &mut [V],
) {
    let factor = input.len();
    let depth = factor * factor * channels;
    for (dy, row) in input.enumerate() {
        let positions = output.chunks_exact_mut(depth);
        for (position, pixels) in positions.zip(row.chunks_exact(factor * channels)) {
            for (dx, pixel) in pixels.chunks_exact(channels).enumerate() {
                let values = position[dy * factor + dx..].iter_mut();
                for (out, &value) in values.step_by(factor * factor).zip(pixel) {
                    *out = V::from_f32(value);
                }
            }
        }
    }
}
