//! The transforms of [`winograd`](crate::engines::winograd) around its products, eight channels at a time.

use crate::engine::Finish;
use crate::engines::simd::{Lanes, PANEL, Vector, WIDTH, Work};
use crate::value::Value;

/// Outputs along a side of a tile.
pub(crate) const TILE: usize = 4;
/// Inputs along a side of a tile.
pub(crate) const WINDOW: usize = TILE + 2;
/// Products of a tile for an input and an output channel.
pub(crate) const POINTS: usize = WINDOW * WINDOW;

/// `B' d B` of the tiles of a block.
pub(crate) struct Inputs<'a> {
    pub(crate) lines: [&'a [f32]; WINDOW],
    pub(crate) channels: usize,
    pub(crate) tiles: usize,
    pub(crate) points: &'a mut [f32],
    pub(crate) stride: usize,
}

impl Inputs<'_> {
    /// Panics unless the windows lie in the lines and the results in the points: what [`Self::run`] relies on.
    fn check(&self) {
        let values = self.tiles * self.channels;
        let line = TILE * values + (WINDOW - TILE) * self.channels;
        assert!(self.channels.is_multiple_of(WIDTH));
        assert!(self.lines.iter().all(|values| values.len() >= line));
        assert!(self.points.len() >= (POINTS - 1) * self.stride + values);
    }
}

impl Work for Inputs<'_> {
    #[inline(always)]
    fn run<V: Vector>(self) {
        self.check();
        let lines = self.lines.map(<[f32]>::as_ptr);
        let points = self.points.as_mut_ptr();
        for tile in 0..self.tiles {
            for channel in (0..self.channels).step_by(WIDTH) {
                let first = tile * TILE * self.channels + channel;
                let mut columns = [[V::ZERO; WINDOW]; WINDOW];
                for (x, values) in columns.iter_mut().enumerate() {
                    // SAFETY: by `check`, the channels of each position of the window lie in each line.
                    *values = spread(unsafe { column(lines, first + x * self.channels) });
                }
                for i in 0..WINDOW {
                    let [a, b, c, d, e, f] = &columns;
                    let row = spread([a[i], b[i], c[i], d[i], e[i], f[i]]);
                    for (j, values) in row.into_iter().enumerate() {
                        let at = (i * WINDOW + j) * self.stride + tile * self.channels + channel;
                        // SAFETY: by `check`, the tile's channels lie in each point.
                        unsafe { values.store(points.add(at)) };
                    }
                }
            }
        }
    }
}

/// `A' m A` of the tiles of a block, and the end of the layer.
pub(crate) struct Outputs<'a, 'b, O> {
    pub(crate) sums: &'a [Lanes],
    pub(crate) stride: usize,
    pub(crate) tiles: usize,
    pub(crate) bias: &'a [f32],
    pub(crate) first: usize,
    pub(crate) outputs: usize,
    pub(crate) rows: &'a mut [&'b mut [O]],
    pub(crate) finish: Finish<'a, f32>,
    pub(crate) addend: [&'a [f32]; TILE],
}

impl<O> Outputs<'_, '_, O> {
    /// Panics unless the tiles lie in the sums and their outputs in the rows: what [`Self::run`] relies on.
    fn check(&self) {
        let values = self.tiles * TILE * self.outputs;
        assert!(self.bias.len().is_multiple_of(WIDTH) && self.bias.len() <= PANEL);
        assert!(self.first + self.bias.len() <= self.outputs);
        assert!(self.sums.len() >= (POINTS - 1) * self.stride + self.tiles);
        assert!(self.rows.len() == TILE && self.rows.iter().all(|row| row.len() >= values));
        let added = matches!(self.finish, Finish::Add(_));
        assert!(!added || self.addend.iter().all(|row| row.len() >= values));
    }
}

impl<O: Value> Work for Outputs<'_, '_, O> {
    #[inline(always)]
    fn run<V: Vector>(self) {
        self.check();
        let sums = self.sums.as_ptr();
        for tile in 0..self.tiles {
            for channel in (0..self.bias.len()).step_by(WIDTH) {
                // SAFETY: by `check`, there are whole vectors.
                let bias = unsafe { V::load(self.bias.as_ptr().add(channel)) };
                let mut columns = [[V::ZERO; TILE]; WINDOW];
                // SAFETY: by `check`, the tile lies in each point, and the channels in its panel.
                unsafe {
                    let first = sums.add(tile).cast::<f32>().add(channel);
                    let (row, step) = (WINDOW * self.stride * PANEL, self.stride * PANEL);
                    let rows = [0, 1, 2, 3, 4, 5].map(|i| first.add(i * row));
                    for (x, values) in columns.iter_mut().enumerate() {
                        *values = gather(column(rows, x * step));
                    }
                }
                for i in 0..TILE {
                    let [a, b, c, d, e, f] = &columns;
                    let row = gather([a[i], b[i], c[i], d[i], e[i], f[i]]);
                    let (output, addend) = (self.rows[i].as_mut_ptr(), self.addend[i].as_ptr());
                    for (j, sum) in row.into_iter().enumerate() {
                        let at = (tile * TILE + j) * self.outputs + self.first + channel;
                        let sum = sum.add(bias);
                        // SAFETY: by `check`, the tile's channels lie in each row, and in what is added if anything is.
                        unsafe {
                            let value = match self.finish {
                                Finish::Store => sum,
                                Finish::Relu => sum.relu(),
                                Finish::Add(_) => V::load(addend.add(at)).add(sum),
                            };
                            store(value, output.add(at));
                        }
                    }
                }
            }
        }
    }
}

/// The vectors at the same offset of six lines.
///
/// # Safety
/// The conditions of [`Vector::load`], for each line.
#[inline(always)]
unsafe fn column<V: Vector>([a, b, c, d, e, f]: [*const f32; WINDOW], at: usize) -> [V; WINDOW] {
    // SAFETY: the caller's promise.
    unsafe {
        [
            V::load(a.add(at)),
            V::load(b.add(at)),
            V::load(c.add(at)),
            V::load(d.add(at)),
            V::load(e.add(at)),
            V::load(f.add(at)),
        ]
    }
}

/// Converts and stores.
///
/// # Safety
/// There is place for a full width.
#[inline(always)]
unsafe fn store<V: Vector, O: Value>(values: V, to: *mut O) {
    let mut converted = [O::ZERO; WIDTH];
    let pairs = converted.iter_mut().zip(values.array());
    pairs.for_each(|(to, value)| *to = O::from_f32(value));
    // SAFETY: the caller's promise.
    unsafe { to.cast::<[O; WIDTH]>().write_unaligned(converted) }
}

/// B' times a column.
#[inline(always)]
fn spread<V: Vector>([a, b, c, d, e, f]: [V; WINDOW]) -> [V; WINDOW] {
    let (even, odd) = (c.mul_add(-4.0, e), b.mul_add(-4.0, d));
    let (far_even, far_odd) = (e.sub(c), d.sub(b));
    [
        a.mul_add(4.0, c.mul_add(-5.0, e)),
        even.add(odd),
        even.sub(odd),
        far_odd.mul_add(2.0, far_even),
        far_odd.mul_add(-2.0, far_even),
        b.mul_add(4.0, d.mul_add(-5.0, f)),
    ]
}

/// A' times a column.
#[inline(always)]
fn gather<V: Vector>([a, b, c, d, e, f]: [V; WINDOW]) -> [V; TILE] {
    let (even, odd) = (b.add(c), b.sub(c));
    let (far_even, far_odd) = (d.add(e), d.sub(e));
    [
        a.add(even.add(far_even)),
        far_odd.mul_add(2.0, odd),
        far_even.mul_add(4.0, even),
        far_odd.mul_add(8.0, odd).add(f),
    ]
}
