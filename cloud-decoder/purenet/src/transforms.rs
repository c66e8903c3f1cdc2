//! The transforms of [`winograd`](crate::winograd) around its products, eight channels at a time.

use crate::engine::Finish;
use crate::simd::{Lanes, Work};
use crate::winograd::{TILE, WINDOW};

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
    /// B' times the column that begins so far into the lines.
    #[inline(always)]
    fn column(&self, start: usize) -> [Channels; WINDOW] {
        let [a, b, c, d, e, f] = self.lines;
        let at = |line: &[f32]| load(&line[start..]);
        spread([at(a), at(b), at(c), at(d), at(e), at(f)])
    }
}

impl Work for Inputs<'_> {
    #[inline(always)]
    fn run(self) {
        for tile in 0..self.tiles {
            for channel in (0..self.channels).step_by(WIDTH) {
                let first = tile * TILE * self.channels + channel;
                let column = |j: usize| self.column(first + j * self.channels);
                let columns = [
                    column(0),
                    column(1),
                    column(2),
                    column(3),
                    column(4),
                    column(5),
                ];
                for i in 0..WINDOW {
                    let [a, b, c, d, e, f] = &columns;
                    let row = spread([a[i], b[i], c[i], d[i], e[i], f[i]]);
                    for (j, values) in row.iter().enumerate() {
                        let start = (i * WINDOW + j) * self.stride + tile * self.channels + channel;
                        self.points[start..start + WIDTH].copy_from_slice(values);
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
    /// A' times a column of a tile's sums.
    #[inline(always)]
    fn column(&self, j: usize, tile: usize, channel: usize) -> [Channels; TILE] {
        let at = |i: usize| load(&self.sums[(i * WINDOW + j) * self.stride + tile].0[channel..]);
        gather([at(0), at(1), at(2), at(3), at(4), at(5)])
    }
}

impl Work for Outputs<'_, '_> {
    #[inline(always)]
    fn run(self) {
        for tile in 0..self.tiles {
            for (channel, bias) in self.bias.chunks_exact(WIDTH).enumerate() {
                let (channel, bias) = (channel * WIDTH, load(bias));
                let column = |j: usize| self.column(j, tile, channel);
                let columns = [
                    column(0),
                    column(1),
                    column(2),
                    column(3),
                    column(4),
                    column(5),
                ];
                for i in 0..TILE {
                    let [a, b, c, d, e, f] = &columns;
                    let row = gather([a[i], b[i], c[i], d[i], e[i], f[i]]);
                    for (j, sum) in row.into_iter().enumerate() {
                        let start = (tile * TILE + j) * self.outputs + self.first + channel;
                        let sum = add(sum, bias);
                        let value = match self.finish {
                            Finish::Store => sum,
                            Finish::Relu => relu(sum),
                            Finish::Add(_) => add(load(&self.addend[i][start..]), sum),
                        };
                        self.rows[i][start..start + WIDTH].copy_from_slice(&value);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn load(values: &[f32]) -> Channels {
    values[..WIDTH].try_into().expect("a full width")
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
