//! The kernel with AVX2 and FMA, and with AVX-512.

use super::lanes::{Lanes, PANEL, SMALL_TILE, Vector, WIDTH, Windows, Work};
use std::arch::x86_64::*;

/// Pixels of the tiles that fill the registers.
pub(super) const AVX2_TILE: usize = 6;
pub(super) const AVX512_TILE: usize = 14;

/// Values of a window whose multiplications are one run of instructions. The fewer besides, the less a core is slowed
/// by what else it runs.
const UNROLLED: usize = 8;

/// # Safety
/// The CPU has AVX2 and FMA, `windows.check(sums.len(), weights)` passes, and `sums` has as many entries as a tile.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn avx2(
    windows: Windows<'_>,
    weights: &[Lanes],
    wide: bool,
    sums: &mut [Lanes],
    onto: bool,
) {
    for half in 0..if wide { 2 } else { 1 } {
        // SAFETY: the caller's promise; `sums` is as long as the tile.
        unsafe {
            match sums.len() {
                AVX2_TILE => avx2_half::<AVX2_TILE>(windows, weights, half, sums, onto),
                SMALL_TILE => avx2_half::<SMALL_TILE>(windows, weights, half, sums, onto),
                _ => avx2_half::<1>(windows, weights, half, sums, onto),
            }
        }
    }
}

/// Half of the lanes of a tile, the first or the second.
///
/// # Safety
/// The conditions of [`avx2`]; `sums` has `TILE` entries.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2_half<const TILE: usize>(
    windows: Windows<'_>,
    weights: &[Lanes],
    half: usize,
    sums: &mut [Lanes],
    onto: bool,
) {
    let first = half * PANEL / 2;
    let mut acc = [[_mm256_setzero_ps(); 2]; TILE];
    // SAFETY: by `check`, each window row of each pixel lies in the input and each of its values has
    // its lanes; `first` + 16 is at most PANEL.
    unsafe {
        if onto {
            for (sum, acc) in sums.iter().zip(&mut acc) {
                let lanes = sum.0.as_ptr().add(first);
                *acc = [_mm256_loadu_ps(lanes), _mm256_loadu_ps(lanes.add(8))];
            }
        }
        let mut lanes = weights.as_ptr().cast::<f32>().add(first);
        for y in 0..windows.rows {
            let mut row = windows.input.as_ptr().add(y * windows.row_stride);
            for _ in 0..windows.row_len / UNROLLED {
                avx2_values(row, windows.pixel_stride, lanes, UNROLLED, &mut acc);
                row = row.add(UNROLLED);
                lanes = lanes.add(UNROLLED * PANEL);
            }
            let left = windows.row_len % UNROLLED;
            avx2_values(row, windows.pixel_stride, lanes, left, &mut acc);
            lanes = lanes.add(left * PANEL);
        }
        for (sum, acc) in sums.iter_mut().zip(acc) {
            let lanes = sum.0.as_mut_ptr().add(first);
            _mm256_storeu_ps(lanes, acc[0]);
            _mm256_storeu_ps(lanes.add(8), acc[1]);
        }
    }
}

/// Multiplies `count` values of each pixel's window by their lanes.
///
/// # Safety
/// The CPU has AVX2 and FMA; the values and 16 lanes of each are there.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2_values<const TILE: usize>(
    row: *const f32,
    stride: usize,
    lanes: *const f32,
    count: usize,
    acc: &mut [[__m256; 2]; TILE],
) {
    // SAFETY: the caller's promise.
    unsafe {
        // Pixels are addressed from two of them by at most twice the stride.
        let half = row.add(TILE / 2 * stride);
        for i in 0..count {
            let lanes = lanes.add(i * PANEL);
            let w = [_mm256_loadu_ps(lanes), _mm256_loadu_ps(lanes.add(8))];
            for (p, acc) in acc.iter_mut().enumerate() {
                let pixel = match p.checked_sub(TILE / 2) {
                    Some(p) => half.add(p * stride),
                    None => row.add(p * stride),
                };
                let value = _mm256_set1_ps(*pixel.add(i));
                acc[0] = _mm256_fmadd_ps(value, w[0], acc[0]);
                acc[1] = _mm256_fmadd_ps(value, w[1], acc[1]);
            }
        }
    }
}

/// # Safety
/// The CPU has AVX-512F, `windows.check(sums.len(), weights)` passes, and `sums` has as many entries as a tile.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn avx512(
    windows: Windows<'_>,
    weights: &[Lanes],
    wide: bool,
    sums: &mut [Lanes],
    onto: bool,
) {
    // SAFETY: the caller's promise; `sums` is as long as the tile.
    unsafe {
        match (sums.len(), wide) {
            (AVX512_TILE, true) => avx512_tile::<AVX512_TILE, 2>(windows, weights, sums, onto),
            (AVX512_TILE, false) => avx512_tile::<AVX512_TILE, 1>(windows, weights, sums, onto),
            (SMALL_TILE, true) => avx512_tile::<SMALL_TILE, 2>(windows, weights, sums, onto),
            (SMALL_TILE, false) => avx512_tile::<SMALL_TILE, 1>(windows, weights, sums, onto),
            (_, true) => avx512_tile::<1, 2>(windows, weights, sums, onto),
            (_, false) => avx512_tile::<1, 1>(windows, weights, sums, onto),
        }
    }
}

/// `VECTORS` of 16 lanes, 1 or 2, of a tile.
///
/// # Safety
/// The conditions of [`avx512`]; `sums` has `TILE` entries.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn avx512_tile<const TILE: usize, const VECTORS: usize>(
    windows: Windows<'_>,
    weights: &[Lanes],
    sums: &mut [Lanes],
    onto: bool,
) {
    const { assert!(VECTORS * 16 <= PANEL) };
    let mut acc = [[_mm512_setzero_ps(); VECTORS]; TILE];
    if onto {
        for (sum, acc) in sums.iter().zip(&mut acc) {
            for (lanes, acc) in sum.0.chunks_exact(16).zip(acc) {
                // SAFETY: the chunk has 16 values.
                *acc = unsafe { _mm512_loadu_ps(lanes.as_ptr()) };
            }
        }
    }
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

/// With AVX2 and FMA, which all code has that this is inlined into.
impl Vector for __m256 {
    // SAFETY: eight zeros.
    const ZERO: Self = unsafe { std::mem::transmute([0.0f32; WIDTH]) };

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { _mm256_storeu_ps(to, self) }
    }

    #[inline(always)]
    fn array(self) -> [f32; WIDTH] {
        // SAFETY: both are eight numbers.
        unsafe { std::mem::transmute(self) }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: [`Vector::load`] promised the instructions.
        unsafe { _mm256_add_ps(self, other) }
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm256_sub_ps(self, other) }
    }

    #[inline(always)]
    fn mul_add(self, factor: f32, addend: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm256_fmadd_ps(self, _mm256_set1_ps(factor), addend) }
    }

    #[inline(always)]
    fn relu(self) -> Self {
        // SAFETY: as above.
        unsafe { _mm256_max_ps(self, _mm256_setzero_ps()) }
    }
}

/// # Safety
/// The CPU has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn apply_avx2(work: impl Work) {
    work.run::<__m256>();
}

/// # Safety
/// The CPU has AVX-512F.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn apply_avx512(work: impl Work) {
    work.run::<__m256>();
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
