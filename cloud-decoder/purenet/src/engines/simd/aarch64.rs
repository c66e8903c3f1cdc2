//! The kernel with NEON.

use super::lanes::{Lanes, PANEL, SMALL_TILE, Vector, WIDTH, Windows};
use std::arch::aarch64::*;

/// Pixels of the tile that fills the registers.
pub(super) const TILE: usize = 6;

/// # Safety
/// The CPU has NEON, `windows.check(sums.len(), weights)` passes, and `sums` has as many entries as a tile.
#[target_feature(enable = "neon")]
pub(super) unsafe fn neon(
    windows: Windows<'_>,
    weights: &[Lanes],
    wide: bool,
    sums: &mut [Lanes],
    onto: bool,
) {
    // SAFETY: the caller's promise; `sums` is as long as the tile.
    unsafe {
        match sums.len() {
            TILE => tile::<TILE>(windows, weights, wide, sums, onto),
            SMALL_TILE => tile::<SMALL_TILE>(windows, weights, wide, sums, onto),
            _ => tile::<1>(windows, weights, wide, sums, onto),
        }
    }
}

/// # Safety
/// The conditions of [`neon`]; `sums` has `TILE` entries.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn tile<const TILE: usize>(
    windows: Windows<'_>,
    weights: &[Lanes],
    wide: bool,
    sums: &mut [Lanes],
    onto: bool,
) {
    for first in (0..if wide { PANEL } else { PANEL / 2 }).step_by(16) {
        let mut acc = [[vdupq_n_f32(0.0); 4]; TILE];
        if onto {
            for (sum, acc) in sums.iter().zip(&mut acc) {
                for (lanes, acc) in sum.0[first..first + 16].chunks_exact(4).zip(acc) {
                    // SAFETY: the chunk has 4 values.
                    *acc = unsafe { vld1q_f32(lanes.as_ptr()) };
                }
            }
        }
        // SAFETY: by `check`, each window row of each pixel lies in the input and each of its values has
        // its lanes; `first` + 16 is at most PANEL.
        unsafe {
            let mut lanes = weights.as_ptr().cast::<f32>().add(first);
            for y in 0..windows.rows {
                let row = windows.input.as_ptr().add(y * windows.row_stride);
                for i in 0..windows.row_len {
                    let w: [float32x4_t; 4] = std::array::from_fn(|v| vld1q_f32(lanes.add(4 * v)));
                    for (p, acc) in acc.iter_mut().enumerate() {
                        let value = *row.add(p * windows.pixel_stride + i);
                        for (acc, w) in acc.iter_mut().zip(w) {
                            *acc = vfmaq_n_f32(*acc, w, value);
                        }
                    }
                    lanes = lanes.add(PANEL);
                }
            }
        }
        for (sum, acc) in sums.iter_mut().zip(acc) {
            for (lanes, acc) in sum.0[first..first + 16].chunks_exact_mut(4).zip(acc) {
                // SAFETY: the chunk has 4 values.
                unsafe { vst1q_f32(lanes.as_mut_ptr(), acc) };
            }
        }
    }
}

/// # Safety
/// The CPU has NEON.
#[target_feature(enable = "neon")]
pub(super) unsafe fn spin(rounds: u64) -> u64 {
    let half = std::hint::black_box(vdupq_n_f32(0.5));
    let mut sums = [half; 16];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = vfmaq_f32(half, *sum, half);
        }
    }
    std::hint::black_box(sums);
    rounds * 16 * 2 * 4
}

/// Two registers.
pub(super) type Quads = [float32x4_t; 2];

/// All code has NEON on this architecture.
impl Vector for Quads {
    // SAFETY: eight zeros.
    const ZERO: Self = unsafe { std::mem::transmute([0.0f32; WIDTH]) };

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { [vld1q_f32(from), vld1q_f32(from.add(WIDTH / 2))] }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        let [low, high] = self;
        // SAFETY: the caller's promise.
        unsafe {
            vst1q_f32(to, low);
            vst1q_f32(to.add(WIDTH / 2), high);
        }
    }

    #[inline(always)]
    fn array(self) -> [f32; WIDTH] {
        // SAFETY: both are eight numbers.
        unsafe { std::mem::transmute(self) }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: there is NEON.
        unsafe { [vaddq_f32(self[0], other[0]), vaddq_f32(self[1], other[1])] }
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { [vsubq_f32(self[0], other[0]), vsubq_f32(self[1], other[1])] }
    }

    #[inline(always)]
    fn mul_add(self, factor: f32, addend: Self) -> Self {
        // SAFETY: as above.
        unsafe {
            [
                vfmaq_n_f32(addend[0], self[0], factor),
                vfmaq_n_f32(addend[1], self[1], factor),
            ]
        }
    }

    #[inline(always)]
    fn relu(self) -> Self {
        // SAFETY: as above.
        unsafe {
            let zero = vdupq_n_f32(0.0);
            [vmaxq_f32(self[0], zero), vmaxq_f32(self[1], zero)]
        }
    }
}
