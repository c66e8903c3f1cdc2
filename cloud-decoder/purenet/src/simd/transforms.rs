//! The transforms of [`winograd`](crate::winograd) around its products, eight channels at a time.

use crate::engine::Finish;
use crate::simd::{Lanes, PANEL, Work};
use crate::winograd::{POINTS, TILE, WINDOW};

/// Channels that are transformed together.
const WIDTH: usize = 8;

type Channels = [f32; WIDTH];

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
    fn run(self) {
        self.check();
        let lines = self.lines.map(<[f32]>::as_ptr);
        let points = self.points.as_mut_ptr();
        for tile in 0..self.tiles {
            for channel in (0..self.channels).step_by(WIDTH) {
                let first = tile * TILE * self.channels + channel;
                // SAFETY: by `check`, the channels of each position of the window lie in each line.
                let columns = unsafe {
                    let step = self.channels;
                    [
                        spread(column(lines, first)),
                        spread(column(lines, first + step)),
                        spread(column(lines, first + 2 * step)),
                        spread(column(lines, first + 3 * step)),
                        spread(column(lines, first + 4 * step)),
                        spread(column(lines, first + 5 * step)),
                    ]
                };
                for i in 0..WINDOW {
                    let [a, b, c, d, e, f] = &columns;
                    let row = spread([a[i], b[i], c[i], d[i], e[i], f[i]]);
                    for (j, values) in row.into_iter().enumerate() {
                        let at = (i * WINDOW + j) * self.stride + tile * self.channels + channel;
                        // SAFETY: by `check`, the tile's channels lie in each point.
                        unsafe { store(values, points.add(at)) };
                    }
                }
            }
        }
    }
}

/// `A' m A` of the tiles of a block, and the end of the layer.
pub(crate) struct Outputs<'a, 'b> {
    pub(crate) sums: &'a [Lanes],
    pub(crate) stride: usize,
    pub(crate) tiles: usize,
    pub(crate) bias: &'a [f32],
    pub(crate) first: usize,
    pub(crate) outputs: usize,
    pub(crate) rows: &'a mut [&'b mut [f32]],
    pub(crate) finish: Finish<'a, f32>,
    pub(crate) addend: [&'a [f32]; TILE],
}

impl Outputs<'_, '_> {
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

impl Work for Outputs<'_, '_> {
    #[inline(always)]
    fn run(self) {
        self.check();
        let sums = self.sums.as_ptr();
        for tile in 0..self.tiles {
            for (channel, bias) in self.bias.as_chunks::<WIDTH>().0.iter().enumerate() {
                let channel = channel * WIDTH;
                // SAFETY: by `check`, the tile lies in each point, and the channels in its panel.
                let columns = unsafe {
                    let first = sums.add(tile).cast::<f32>().add(channel);
                    let (row, step) = (WINDOW * self.stride * PANEL, self.stride * PANEL);
                    let rows = [0, 1, 2, 3, 4, 5].map(|i| first.add(i * row));
                    [
                        gather(column(rows, 0)),
                        gather(column(rows, step)),
                        gather(column(rows, 2 * step)),
                        gather(column(rows, 3 * step)),
                        gather(column(rows, 4 * step)),
                        gather(column(rows, 5 * step)),
                    ]
                };
                for i in 0..TILE {
                    let [a, b, c, d, e, f] = &columns;
                    let row = gather([a[i], b[i], c[i], d[i], e[i], f[i]]);
                    let (output, addend) = (self.rows[i].as_mut_ptr(), self.addend[i].as_ptr());
                    for (j, sum) in row.into_iter().enumerate() {
                        let at = (tile * TILE + j) * self.outputs + self.first + channel;
                        let sum = add(sum, *bias);
                        // SAFETY: by `check`, the tile's channels lie in each row, and in what is added if anything is.
                        unsafe {
                            let value = match self.finish {
                                Finish::Store => sum,
                                Finish::Relu => relu(sum),
                                Finish::Add(_) => add(load(addend.add(at)), sum),
                            };
                            store(value, output.add(at));
                        }
                    }
                }
            }
        }
    }
}

/// What lies so far into each of some lines.
///
/// # Safety
/// There is a full width in each.
#[inline(always)]
unsafe fn column([a, b, c, d, e, f]: [*const f32; WINDOW], at: usize) -> [Channels; WINDOW] {
    // SAFETY: the caller's promise.
    unsafe {
        [
            load(a.add(at)),
            load(b.add(at)),
            load(c.add(at)),
            load(d.add(at)),
            load(e.add(at)),
            load(f.add(at)),
        ]
    }
}

/// # Safety
/// A full width is there.
#[inline(always)]
unsafe fn load(values: *const f32) -> Channels {
    // SAFETY: the caller's promise.
    unsafe { values.cast::<Channels>().read_unaligned() }
}

/// # Safety
/// As of [`load`].
#[inline(always)]
unsafe fn store(values: Channels, to: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { to.cast::<Channels>().write_unaligned(values) }
}

#[inline(always)]
fn add(mut a: Channels, b: Channels) -> Channels {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
    a
}

#[inline(always)]
fn sub(mut a: Channels, b: Channels) -> Channels {
    a.iter_mut().zip(b).for_each(|(a, b)| *a -= b);
    a
}

/// `a` * `factor` + `b`.
#[inline(always)]
fn mul_add(mut a: Channels, factor: f32, b: Channels) -> Channels {
    a.iter_mut().zip(b).for_each(|(a, b)| *a = *a * factor + b);
    a
}

#[inline(always)]
fn relu(mut a: Channels) -> Channels {
    a.iter_mut().for_each(|a| *a = a.max(0.0));
    a
}

/// B' times a column.
#[inline(always)]
fn spread([a, b, c, d, e, f]: [Channels; WINDOW]) -> [Channels; WINDOW] {
    let (even, odd) = (mul_add(c, -4.0, e), mul_add(b, -4.0, d));
    let (far_even, far_odd) = (sub(e, c), sub(d, b));
    [
        mul_add(a, 4.0, mul_add(c, -5.0, e)),
        add(even, odd),
        sub(even, odd),
        mul_add(far_odd, 2.0, far_even),
        mul_add(far_odd, -2.0, far_even),
        mul_add(b, 4.0, mul_add(d, -5.0, f)),
    ]
}

/// A' times a column.
#[inline(always)]
fn gather([a, b, c, d, e, f]: [Channels; WINDOW]) -> [Channels; TILE] {
    let (even, odd) = (add(b, c), sub(b, c));
    let (far_even, far_odd) = (add(d, e), sub(d, e));
    [
        add(a, add(even, far_even)),
        mul_add(far_odd, 2.0, odd),
        mul_add(far_even, 4.0, even),
        add(mul_add(far_odd, 8.0, odd), f),
    ]
}
