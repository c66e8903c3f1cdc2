//! Windows, weights and sums.

use std::marker::PhantomData;

use half::bf16;

/// Windows of a tile.
pub const ROWS: usize = 16;
/// Columns of weights that are computed together: two tiles of 16.
pub const COLUMNS: usize = 32;
/// Most runs of a window.
pub const MAX_RUNS: usize = 32;

/// Bytes of a tile's row.
pub(crate) const ROW_BYTES: usize = 64;
/// Rows of a tile of weights: four bytes of depth each.
pub(crate) const DEPTH: usize = 16;
/// Lines of weights that a step takes.
pub(crate) const STEP: usize = 2 * DEPTH;

/// An activation: `u8`, with weights in `i8` and sums in `i32`; or `bf16`, with weights in `bf16` and sums in `f32`.
pub trait Element: Copy + private::Sealed {
    /// A weight, as large as an activation.
    type Weight: Copy;
    /// A sum, of four bytes.
    type Sum: Copy + Default;

    /// Values in four bytes.
    const PACKED: usize = 4 / size_of::<Self>();
    /// Values that a tile is deep.
    const DEEP: usize = ROW_BYTES / size_of::<Self>();
}

impl Element for u8 {
    type Weight = i8;
    type Sum = i32;
}

impl Element for bf16 {
    type Weight = bf16;
    type Sum = f32;
}

pub(crate) mod private {
    use super::{COLUMNS, Element, Line};

    /// Details of an element that only this crate uses.
    pub trait Sealed: Sized {
        const INTEGER: bool;

        fn store(weight: Self::Weight, bytes: &mut [u8])
        where
            Self: Element;

        /// Adds the products of a tile's depth of values and two tiles of weights, in plain code.
        fn add_products(values: &[Self], weights: &[Line], sums: &mut [Self::Sum; COLUMNS])
        where
            Self: Element;
    }
}

/// A row of a tile of weights: 16 columns, four bytes of depth each.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Line(pub(crate) [u8; ROW_BYTES]);

/// The sums of one window: one a column.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub struct Sums<S>(pub [S; COLUMNS]);

impl<S: Copy + Default> Default for Sums<S> {
    fn default() -> Self {
        Self([S::default(); COLUMNS])
    }
}

/// Weights of up to [`COLUMNS`] columns, packed into tiles.
#[derive(Debug)]
pub struct Weights<T> {
    pub(crate) runs: usize,
    /// Tiles along a run.
    steps: usize,
    /// By run and step, two tiles.
    lines: Vec<Line>,
    element: PhantomData<fn(T)>,
}

impl<T: Element> Weights<T> {
    /// Packs weights for windows of `runs` runs of `run` values: `weight(run, value, column)` for each column.
    ///
    /// # Panics
    /// When there are no or more than [`MAX_RUNS`] runs, or more than [`COLUMNS`] columns.
    pub fn new(
        runs: usize,
        run: usize,
        columns: usize,
        weight: impl Fn(usize, usize, usize) -> T::Weight,
    ) -> Self {
        assert!((1..=MAX_RUNS).contains(&runs), "a window has 1 to 32 runs");
        assert!(columns <= COLUMNS, "columns fit two tiles");
        let steps = run.div_ceil(T::DEEP);
        let mut lines = vec![Line([0; ROW_BYTES]); runs * steps * STEP];
        for index in 0..runs {
            for value in 0..run {
                let (step, deep) = (value / T::DEEP, value % T::DEEP);
                let first = (index * steps + step) * STEP + deep / T::PACKED;
                for column in 0..columns {
                    let line = &mut lines[first + column / 16 * DEPTH];
                    let place = 4 * (column % 16) + deep % T::PACKED * size_of::<T>();
                    let bytes = &mut line.0[place..][..size_of::<T>()];
                    T::store(weight(index, value, column), bytes);
                }
            }
        }
        Self {
            runs,
            steps,
            lines,
            element: PhantomData,
        }
    }

    /// Values that are read of each run of a window: those beyond its end, up to a whole tile, have weight 0.
    pub fn reach(&self) -> usize {
        self.steps * T::DEEP
    }
}

/// The windows of a product in memory.
#[derive(Clone, Copy, Debug)]
pub struct Windows<'a, T> {
    /// For each run, the values that it lies in.
    pub runs: &'a [&'a [T]],
    /// Values from a window's runs to those of the next window of its tile.
    pub stride: usize,
    /// Windows of each tile, 1 to [`ROWS`].
    pub rows: usize,
}

/// One tile of windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Where in each run its first window's begins.
    pub at: usize,
    /// Index of its first window's sums.
    pub first: usize,
}

impl<T> Weights<T> {
    pub(crate) fn steps(&self) -> usize {
        self.steps
    }

    pub(crate) fn lines(&self) -> &[Line] {
        &self.lines
    }
}
