//! The inner kernel: a tile of pixels by a panel of output channels, accumulated over a window.
//!
//! With channels last, the window of a pixel is a few contiguous rows: `kernel` rows of
//! `kernel * channels` values, the next pixel's being `channels` values further. A linear layer is the
//! case of one row. Weights are packed so that each window value meets one [`Lanes`] of [`PANEL`] outputs.
#![allow(unsafe_code)]

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod portable;
#[cfg(test)]
mod tests;
pub(crate) mod transforms;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use std::time::Instant;

/// Runs that [`Isa::peak`] takes the fastest of, and their length: some milliseconds.
const PEAK_RUNS: u32 = 20;
const PEAK_ROUNDS: u64 = 1_000_000;

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

/// Tiles of a transformed block, about: more meet each weight that is loaded, fewer stay in the second-level cache.
const BLOCK: usize = 36;

const MAX_TILE: usize = 14;
const SMALL_TILE: usize = 4;

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

/// Plain code that is worth compiling for each instruction set. Only what is inlined into [`Work::run`] is.
pub(crate) trait Work {
    /// Does it; to be marked `#[inline(always)]`.
    fn run(self);
}

impl<'a> Windows<'a> {
    fn skip(self, pixels: usize) -> Self {
        Self {
            input: &self.input[pixels * self.pixel_stride..],
            ..self
        }
    }

    /// Panics unless the windows of `pixels` pixels lie in the input and match the weights: what the
    /// kernels rely on.
    fn check(&self, pixels: usize, weights: &[Lanes]) {
        assert_eq!(weights.len(), self.rows * self.row_len);
        let last = (self.rows - 1) * self.row_stride + (pixels - 1) * self.pixel_stride;
        assert!(last + self.row_len <= self.input.len());
    }
}

/// An instruction set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isa {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Isa {
    /// AVX2 with FMA, if this machine has it.
    pub(crate) fn avx2() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Some(Self::Avx2);
        }
        None
    }

    /// AVX-512, if this machine has it.
    pub(crate) fn avx512() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") {
            return Some(Self::Avx512);
        }
        None
    }

    /// NEON, if this machine has it.
    pub(crate) fn neon() -> Option<Self> {
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            return Some(Self::Neon);
        }
        None
    }

    /// The fastest that this machine has.
    pub(crate) fn best() -> Self {
        let fast = Self::avx512().or_else(Self::avx2).or_else(Self::neon);
        fast.unwrap_or(Self::Portable)
    }

    /// Operations, two a multiply-accumulate, of so many rounds of nothing but multiply-accumulates in registers; none
    /// without vector instructions.
    fn spin(self, rounds: u64) -> Option<u64> {
        match self {
            Self::Portable => None,
            // SAFETY: this value exists only where the CPU has the instructions.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Some(unsafe { x86_64::spin_avx2(rounds) }),
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Some(unsafe { x86_64::spin_avx512(rounds) }),
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Self::Neon => Some(unsafe { aarch64::spin(rounds) }),
        }
    }

    /// The fastest of some runs of [`Self::spin`], in operations a second.
    pub(crate) fn peak(self) -> Option<f64> {
        let measured = (0..PEAK_RUNS).filter_map(|_| {
            let started = Instant::now();
            let operations = self.spin(PEAK_ROUNDS)?;
            Some(operations as f64 / started.elapsed().as_secs_f64())
        });
        measured.max_by(f64::total_cmp)
    }

    /// Pixels of the tile that fills the registers.
    pub(crate) fn tile(self) -> usize {
        match self {
            Self::Portable => SMALL_TILE,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => 6,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => MAX_TILE,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => 6,
        }
    }

    /// Tiles of a transformed block: some full tiles of the kernel.
    pub(crate) fn block(self) -> usize {
        self.tile() * (BLOCK / self.tile()).max(1)
    }

    /// Runs `work` in code compiled for this instruction set.
    pub(crate) fn apply(self, work: impl Work) {
        match self {
            Self::Portable => work.run(),
            // SAFETY: this value exists only where the CPU has the instructions.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { x86_64::apply_avx2(work) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { x86_64::apply_avx512(work) },
            // All code is compiled for NEON on this architecture.
            #[cfg(target_arch = "aarch64")]
            Self::Neon => work.run(),
        }
    }

    /// As [`Isa::for_tiles`], one pixel for each of `sums`.
    ///
    /// # Panics
    /// If a window leaves the input or the weights do not match.
    pub(crate) fn multiply(
        self,
        windows: Windows<'_>,
        weights: &[Lanes],
        outputs: usize,
        sums: &mut [Lanes],
    ) {
        for (start, width) in self.tiles(sums.len()) {
            let sums = &mut sums[start..start + width];
            self.accumulate(windows.skip(start), weights, outputs, sums);
        }
    }

    /// Start and width of the tiles of so many pixels. The last may overlap the one before; what both have is the same to
    /// the bit.
    fn tiles(self, pixels: usize) -> impl Iterator<Item = (usize, usize)> {
        let widths = [self.tile(), SMALL_TILE, 1];
        let width = widths
            .into_iter()
            .find(|width| *width <= pixels)
            .unwrap_or(1);
        (0..pixels)
            .step_by(width)
            .map(move |start| (start.min(pixels - width), width))
    }

    /// Accumulates one panel over the windows of `pixels` consecutive pixels and hands the sums to
    /// `sink` with the index of their first pixel, each pixel once and in order. Only the first `outputs`
    /// lanes, rounded up to 16, are defined.
    ///
    /// # Panics
    /// If a window leaves the input or the weights do not match.
    pub(crate) fn for_tiles(
        self,
        pixels: usize,
        windows: Windows<'_>,
        weights: &[Lanes],
        outputs: usize,
        mut sink: impl FnMut(usize, &[Lanes]),
    ) {
        let mut sums = [Lanes([0.0; PANEL]); MAX_TILE];
        let mut done = 0;
        for (start, width) in self.tiles(pixels) {
            self.accumulate(windows.skip(start), weights, outputs, &mut sums[..width]);
            sink(done, &sums[done - start..width]);
            done = start + width;
        }
    }

    /// One tile; `sums` has one entry a pixel: 1, 4 or the full tile.
    fn accumulate(
        self,
        windows: Windows<'_>,
        weights: &[Lanes],
        outputs: usize,
        sums: &mut [Lanes],
    ) {
        windows.check(sums.len(), weights);
        let wide = outputs > PANEL / 2;
        match (self, sums.len()) {
            (Self::Portable, SMALL_TILE) => {
                portable::accumulate::<SMALL_TILE>(windows, weights, wide, sums);
            }
            (Self::Portable, _) => portable::accumulate::<1>(windows, weights, wide, sums),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this value exists only where the CPU has the instructions, `check` passed and
            // `sums` has as many entries as the tile has pixels.
            (Self::Avx2, tile) => unsafe {
                match tile {
                    6 => x86_64::avx2::<6>(windows, weights, wide, sums),
                    SMALL_TILE => x86_64::avx2::<SMALL_TILE>(windows, weights, wide, sums),
                    _ => x86_64::avx2::<1>(windows, weights, wide, sums),
                }
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            (Self::Avx512, tile) => unsafe {
                match (tile, wide) {
                    (MAX_TILE, true) => x86_64::avx512::<MAX_TILE, 2>(windows, weights, sums),
                    (MAX_TILE, false) => x86_64::avx512::<MAX_TILE, 1>(windows, weights, sums),
                    (SMALL_TILE, true) => x86_64::avx512::<SMALL_TILE, 2>(windows, weights, sums),
                    (SMALL_TILE, false) => x86_64::avx512::<SMALL_TILE, 1>(windows, weights, sums),
                    (_, true) => x86_64::avx512::<1, 2>(windows, weights, sums),
                    (_, false) => x86_64::avx512::<1, 1>(windows, weights, sums),
                }
            },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above.
            (Self::Neon, tile) => unsafe {
                match tile {
                    6 => aarch64::neon::<6>(windows, weights, wide, sums),
                    SMALL_TILE => aarch64::neon::<SMALL_TILE>(windows, weights, wide, sums),
                    _ => aarch64::neon::<1>(windows, weights, wide, sums),
                }
            },
        }
    }
}
