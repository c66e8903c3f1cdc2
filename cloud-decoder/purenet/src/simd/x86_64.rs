//! The kernel with AVX2 and FMA, and with AVX-512.

use super::{Lanes, PANEL, Windows, Work};
use std::arch::x86_64::*;

/// # Safety
/// The CPU has AVX2 and FMA, `windows.check(TILE, weights)` passes and `sums` has `TILE` entries.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn avx2<const TILE: usize>(
    windows: Windows<'_>,
    weights: &[Lanes],
    wide: bool,
    sums: &mut [Lanes],
) {
    for first in (0..if wide { PANEL } else { PANEL / 2 }).step_by(16) {
        let mut acc = [[_mm256_setzero_ps(); 2]; TILE];
        // SAFETY: by `check`, each window row of each pixel lies in the input and each of its values has
        // its lanes; `first` + 16 is at most PANEL.
        unsafe {
            let mut lanes = weights.as_ptr().cast::<f32>().add(first);
            for y in 0..windows.rows {
                let row = windows.input.as_ptr().add(y * windows.row_stride);
                for i in 0..windows.row_len {
                    let w = [_mm256_loadu_ps(lanes), _mm256_loadu_ps(lanes.add(8))];
                    for (p, acc) in acc.iter_mut().enumerate() {
                        let value = _mm256_set1_ps(*row.add(p * windows.pixel_stride + i));
                        acc[0] = _mm256_fmadd_ps(value, w[0], acc[0]);
                        acc[1] = _mm256_fmadd_ps(value, w[1], acc[1]);
                    }
                    lanes = lanes.add(PANEL);
                }
            }
        }
        for (sum, acc) in sums.iter_mut().zip(acc) {
            let (low, high) = sum.0[first..first + 16].split_at_mut(8);
            // SAFETY: both halves have 8 values.
            unsafe {
                _mm256_storeu_ps(low.as_mut_ptr(), acc[0]);
                _mm256_storeu_ps(high.as_mut_ptr(), acc[1]);
            }
        }
    }
}

/// `VECTORS` of 16 lanes, 1 or 2, are computed.
///
/// # Safety
/// The CPU has AVX-512F, `windows.check(TILE, weights)` passes and `sums` has `TILE` entries.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn avx512<const TILE: usize, const VECTORS: usize>(
    windows: Windows<'_>,
    weights: &[Lanes],
    sums: &mut [Lanes],
) {
    const { assert!(VECTORS * 16 <= PANEL) };
    let mut acc = [[_mm512_setzero_ps(); VECTORS]; TILE];
    // SAFETY: by `check`, each window row of each pixel lies in the input and each of its values has
    // its lanes, of which VECTORS * 16 are read.
    unsafe {
        let mut lanes = weights.as_ptr().cast::<f32>();
        for y in 0..windows.rows {
            let row = windows.input.as_ptr().add(y * windows.row_stride);
            for i in 0..windows.row_len {
                let w: [__m512; VECTORS] =
                    std::array::from_fn(|v| _mm512_loadu_ps(lanes.add(16 * v)));
                for (p, acc) in acc.iter_mut().enumerate() {
                    let value = _mm512_set1_ps(*row.add(p * windows.pixel_stride + i));
                    for (acc, w) in acc.iter_mut().zip(w) {
                        *acc = _mm512_fmadd_ps(value, w, *acc);
                    }
                }
                lanes = lanes.add(PANEL);
            }
        }
    }
    for (sum, acc) in sums.iter_mut().zip(acc) {
        for (lanes, acc) in sum.0.chunks_exact_mut(16).zip(acc) {
            // SAFETY: the chunk has 16 values.
            unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), acc) };
        }
    }
}

/// # Safety
/// The CPU has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn apply_avx2(work: impl Work) {
    work.run();
}

/// # Safety
/// The CPU has AVX-512F.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn apply_avx512(work: impl Work) {
    work.run();
}

/// # Safety
/// The CPU has AVX-512F.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn spin_avx512(rounds: u64) -> u64 {
    let half = std::hint::black_box(_mm512_set1_ps(0.5));
    let mut sums = [half; 16];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_fmadd_ps(*sum, half, half);
        }
    }
    std::hint::black_box(sums);
    rounds * 16 * 2 * 16
}

/// # Safety
/// The CPU has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn spin_avx2(rounds: u64) -> u64 {
    let half = std::hint::black_box(_mm256_set1_ps(0.5));
    let mut sums = [half; 12];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm256_fmadd_ps(*sum, half, half);
        }
    }
    std::hint::black_box(sums);
    rounds * 12 * 2 * 8
}
