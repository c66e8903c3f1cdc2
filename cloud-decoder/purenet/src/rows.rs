//! Feature maps that pass by, of which only the rows still needed are held.

use kernels::{Aligned, Plain};

use crate::shape::Shape;

/// Positions around a map that kernels read: the radius of the largest kernel.
pub(crate) const MARGIN: usize = 2;

/// Consecutive rows of a feature map, channels last, in a ring. The map has [`MARGIN`] positions of one value, its edge,
/// on all sides; rows are counted without them, lines with them.
pub(crate) struct Rows<V> {
    /// One slot a row. The margins of a slot are never written, and so stay as they are.
    ring: Aligned<V>,
    edge: V,
    slots: usize,
    width: usize,
    channels: usize,
    height: usize,
    /// First line held.
    first: usize,
    /// Line after the last one held.
    end: usize,
}

impl<V: Plain> Rows<V> {
    /// The map of a frame of `rows` x `columns` patches before any of its rows is there, with room for so many of them.
    pub(crate) fn new(shape: Shape, (rows, columns): (usize, usize), room: usize, edge: V) -> Self {
        let (height, width) = (rows * shape.side, columns * shape.side);
        let slots = room.min(height) + 2 * MARGIN;
        Self {
            ring: Aligned::filled(slots * (width + 2 * MARGIN) * shape.channels, edge),
            edge,
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
        self.ring[..margin].fill(self.edge);
    }

    /// Bytes that [`Rows::new`] takes.
    pub(crate) fn bytes(shape: Shape, (rows, columns): (usize, usize), room: usize) -> usize {
        let slots = room.min(rows * shape.side) + 2 * MARGIN;
        slots * (columns * shape.side + 2 * MARGIN) * shape.channels * size_of::<V>()
    }

    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        size_of_val(&*self.ring)
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

    /// All that is held, to be read at [`Rows::place`]s.
    pub(crate) fn memory(&self) -> &[V] {
        self.ring.with_spare()
    }

    /// Where the kernel row of a line begins in the memory, for windows `radius` around their positions.
    pub(crate) fn place(&self, line: usize, radius: usize) -> usize {
        debug_assert!(
            (self.first..self.end).contains(&line),
            "line {line} is not held"
        );
        line % self.slots * self.stride() + (MARGIN - radius) * self.channels
    }

    /// Row `y` without margins.
    pub(crate) fn row(&self, y: usize) -> &[V] {
        &self.ring[self.place(y + MARGIN, 0)..][..self.width * self.channels]
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
        let (stride, slots, edge) = (self.stride(), self.slots, self.edge);
        for line in start + count..self.end {
            self.ring[line % slots * stride..][..stride].fill(edge);
        }
        let (begin, rest) = self.ring.split_at_mut(start % slots * stride);
        let inner = MARGIN * self.channels..stride - MARGIN * self.channels;
        let slots = rest
            .chunks_exact_mut(stride)
            .chain(begin.chunks_exact_mut(stride));
        slots
            .take(count)
            .map(|slot| &mut slot[inner.clone()])
            .collect()
    }

    /// Adds rows up to row `until`, as [`Rows::append`].
    pub(crate) fn append_until(&mut self, until: usize) -> Vec<&mut [V]> {
        self.append(until - self.len())
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
        let mut ring = Aligned::filled(slots * stride, self.edge);
        for line in self.first..self.end {
            let held = &self.ring[line % self.slots * stride..][..stride];
            ring[line % slots * stride..][..stride].copy_from_slice(held);
        }
        (self.ring, self.slots) = (ring, slots);
    }
}
