//! The kernel's operands, and the vectors that code is compiled for.

/// Output channels of a panel.
pub(crate) const PANEL: usize = 32;

/// One value for each output channel of a panel, on its own cache lines.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Lanes(pub(crate) [f32; PANEL]);

impl Lanes {
    /// The values of some one after the other.
    pub(crate) fn flatten(lanes: &[Self]) -> &[f32] {
        // SAFETY: `Lanes` is PANEL values and no padding.
        unsafe { std::slice::from_raw_parts(lanes.as_ptr().cast(), lanes.len() * PANEL) }
    }
}

/// Pixels of the tile that is used where a full one does not fit.
pub(super) const SMALL_TILE: usize = 4;

/// The windows of consecutive pixels.
#[derive(Clone, Copy)]
pub(crate) struct Windows<'a> {
    /// Values from the first window's first on.
    pub(crate) input: &'a [f32],
    /// Rows of a window.
    pub(crate) rows: usize,
    /// Values of a row.
    pub(crate) row_len: usize,
    /// Values from a row to the next.
    pub(crate) row_stride: usize,
    /// Values from a pixel's window to the next pixel's.
    pub(crate) pixel_stride: usize,
}

/// Code that is compiled for each instruction set. Only what is inlined into [`Work::run`] is.
pub(crate) trait Work {
    /// Does it, on the instruction set's vectors or in plain code; to be marked `#[inline(always)]`.
    fn run<V: Vector>(self);
}

/// Numbers of a [`Vector`].
pub(crate) const WIDTH: usize = 8;

/// Some numbers in registers. All is to be inlined into a [`Work`].
pub(crate) trait Vector: Copy {
    const ZERO: Self;

    /// # Safety
    /// The CPU has the instructions, and [`WIDTH`] values are there.
    unsafe fn load(from: *const f32) -> Self;

    /// # Safety
    /// There is place for [`WIDTH`] values.
    unsafe fn store(self, to: *mut f32);

    fn array(self) -> [f32; WIDTH];

    fn add(self, other: Self) -> Self;

    fn sub(self, other: Self) -> Self;

    /// `self` * `factor` + `addend`, rounded once where there is an instruction for it.
    fn mul_add(self, factor: f32, addend: Self) -> Self;

    /// Zero where it is negative.
    fn relu(self) -> Self;
}

impl<'a> Windows<'a> {
    pub(crate) fn skip(self, pixels: usize) -> Self {
        Self {
            input: &self.input[pixels * self.pixel_stride..],
            ..self
        }
    }

    /// Panics unless the windows of `pixels` pixels lie in the input and match the weights. The kernels rely on this.
    pub(super) fn check(&self, pixels: usize, weights: &[Lanes]) {
        assert_eq!(weights.len(), self.rows * self.row_len);
        let last = (self.rows - 1) * self.row_stride + (pixels - 1) * self.pixel_stride;
        assert!(last + self.row_len <= self.input.len());
    }
}
