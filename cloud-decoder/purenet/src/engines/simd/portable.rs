//! The kernel in plain Rust: the fallback, and the reference for tests of the others.

use super::lanes::{Lanes, PANEL, SMALL_TILE, Vector, WIDTH, Windows};

const GROUP: usize = 8; // channels kept in registers together

pub(super) fn multiply(
    windows: Windows<'_>,
    weights: &[Lanes],
    wide: bool,
    sums: &mut [Lanes],
    onto: bool,
) {
    if sums.len() == SMALL_TILE {
        tile::<SMALL_TILE>(windows, weights, wide, sums, onto);
    } else {
        tile::<1>(windows, weights, wide, sums, onto);
    }
}

fn tile<const TILE: usize>(
    windows: Windows<'_>,
    weights: &[Lanes],
    wide: bool,
    sums: &mut [Lanes],
    onto: bool,
) {
    for first in (0..if wide { PANEL } else { PANEL / 2 }).step_by(GROUP) {
        let mut acc = [[0.0f32; GROUP]; TILE];
        if onto {
            for (sum, acc) in sums.iter().zip(&mut acc) {
                acc.copy_from_slice(&sum.0[first..first + GROUP]);
            }
        }
        for (y, weights) in weights.chunks_exact(windows.row_len).enumerate() {
            let pixels: [&[f32]; TILE] = std::array::from_fn(|p| {
                &windows.input[y * windows.row_stride + p * windows.pixel_stride..][..weights.len()]
            });
            for (i, lanes) in weights.iter().enumerate() {
                for (acc, pixel) in acc.iter_mut().zip(pixels) {
                    for (acc, weight) in acc.iter_mut().zip(&lanes.0[first..first + GROUP]) {
                        *acc += pixel[i] * weight;
                    }
                }
            }
        }
        for (sum, acc) in sums.iter_mut().zip(acc) {
            sum.0[first..first + GROUP].copy_from_slice(&acc);
        }
    }
}

impl Vector for [f32; WIDTH] {
    const ZERO: Self = [0.0; WIDTH];

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { from.cast::<Self>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<Self>().write_unaligned(self) }
    }

    #[inline(always)]
    fn array(self) -> [f32; WIDTH] {
        self
    }

    #[inline(always)]
    fn add(mut self, other: Self) -> Self {
        self.iter_mut().zip(other).for_each(|(a, b)| *a += b);
        self
    }

    #[inline(always)]
    fn sub(mut self, other: Self) -> Self {
        self.iter_mut().zip(other).for_each(|(a, b)| *a -= b);
        self
    }

    #[inline(always)]
    fn mul_add(mut self, factor: f32, addend: Self) -> Self {
        let pairs = self.iter_mut().zip(addend);
        pairs.for_each(|(a, b)| *a = *a * factor + b);
        self
    }

    #[inline(always)]
    fn relu(mut self) -> Self {
        self.iter_mut().for_each(|a| *a = a.max(0.0));
        self
    }
}
