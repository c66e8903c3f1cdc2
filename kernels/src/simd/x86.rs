//! AVX2, AVX-VNNI on 256 bits, and AVX-512 with VNNI.
//!
//! `vpdpbusd` adds four products of u8 and i8 to an i32, `vpdpwssd` two of i16, neither saturates. `vpmaddubsw` adds two
//! products of u8 and i8 in 16 bits; only as many such sums are added in 16 bits as cannot overflow.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::x86_words::Register;
use crate::call::Call;
use crate::kernel::Kernel;
use crate::operands::{LANES, Lanes, Line};
use crate::words::Work;

/// Windows that are computed together, so that their sums fill the registers.
const FEW: usize = 6;
const MANY: usize = 8;
const AVX2_WINDOWS: usize = 3;

/// Does the work in a function compiled for the kernel.
#[inline]
pub(super) fn vectorized(kernel: Kernel, work: impl Work) {
    // SAFETY: a `Simd` of these kernels exists only where the instructions were found.
    unsafe {
        match kernel {
            Kernel::Avx2 | Kernel::AvxVnni => vectorized_avx2(work),
            _ => vectorized_avx512(work),
        }
    }
}

#[target_feature(enable = "avx2")]
fn vectorized_avx2(work: impl Work) {
    work.run::<Register>();
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn vectorized_avx512(work: impl Work) {
    work.run::<Register>();
}

/// Calls a kernel's function for all windows, so many at a time; the last ones again where they do not fill a group,
/// and each one alone where there are not that many.
macro_rules! groups {
    ($call:expr, $sums:expr, $windows:expr, $function:ident, $words:tt $(, $blocks:tt)?) => {{
        let call: &Call<'_> = $call;
        let count = call.windows.len();
        if count >= $windows {
            for first in (0..count).step_by($windows) {
                let first = first.min(count - $windows);
                $function::<$words, { $windows } $(, $blocks)?>(call, first, $sums);
            }
        } else {
            for window in 0..count {
                $function::<$words, 1 $(, $blocks)?>(call, window, $sums);
            }
        }
    }};
}

/// As [`Simd::lines`](super::Simd::lines), for the kernels of this architecture.
///
/// # Safety
/// The machine has the kernel; the taps of each window lie in the input; for each tap there are as many lines as starts,
/// and for each window as many sums; with AVX2 the sums of each run of taps fit 16 bits.
pub(super) unsafe fn multiply(kernel: Kernel, call: &Call<'_>, sums: *mut Lanes) {
    // SAFETY: the caller's promise.
    unsafe {
        match (kernel, call.words, call.starts.len()) {
            (Kernel::Avx2, false, _) => groups!(call, sums, AVX2_WINDOWS, avx2_bytes, false),
            (Kernel::Avx2, true, _) => groups!(call, sums, FEW, avx2_words, true),
            (Kernel::AvxVnni, false, _) => groups!(call, sums, FEW, avxvnni, false),
            (Kernel::AvxVnni, true, _) => groups!(call, sums, FEW, avxvnni, true),
            (_, false, 1) => groups!(call, sums, MANY, avx512, false, 1),
            (_, false, 2) => groups!(call, sums, MANY, avx512, false, 2),
            (_, false, 3) => groups!(call, sums, MANY, avx512, false, 3),
            (_, false, _) => groups!(call, sums, FEW, avx512, false, 4),
            (_, true, 1) => groups!(call, sums, MANY, avx512, true, 1),
            (_, true, 2) => groups!(call, sums, MANY, avx512, true, 2),
            (_, true, 3) => groups!(call, sums, MANY, avx512, true, 3),
            (_, true, _) => groups!(call, sums, FEW, avx512, true, 4),
        }
    }
}

/// Places of consecutive windows of a call.
#[inline(always)]
fn places<const P: usize>(call: &Call<'_>, first: usize) -> [*const u8; P] {
    std::array::from_fn(|p| {
        call.input
            .wrapping_add(call.windows[first + p] * call.value)
    })
}

/// `P` windows from window `first` on, with panels of `B` blocks.
///
/// # Safety
/// The CPU has the instructions; the taps of each window lie in the input; there are `B` starts, as many lines a tap,
/// and sums for all windows.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn avx512<const WORDS: bool, const P: usize, const B: usize>(
    call: &Call<'_>,
    first: usize,
    out: *mut Lanes,
) {
    let windows: [*const u8; P] = places(call, first);
    // SAFETY: `Lanes` and `Line` are 64 aligned bytes; all places are there by the caller's promise.
    unsafe {
        let start: [__m512i; B] =
            std::array::from_fn(|b| _mm512_load_si512((&raw const call.starts[b]).cast()));
        let mut sums = [start; P];
        let mut line: *const __m512i = call.lines.as_ptr().cast();
        for &offset in call.offsets {
            let lines: [__m512i; B] = std::array::from_fn(|b| _mm512_load_si512(line.add(b)));
            line = line.add(B);
            for (sums, window) in sums.iter_mut().zip(windows) {
                let tap = window.add(offset as usize).cast::<i32>().read_unaligned();
                let tap = _mm512_set1_epi32(tap);
                for (sum, line) in sums.iter_mut().zip(lines) {
                    *sum = if WORDS {
                        _mm512_dpwssd_epi32(*sum, tap, line)
                    } else {
                        _mm512_dpbusd_epi32(*sum, tap, line)
                    };
                }
            }
        }
        let out: *mut __m512i = out.cast();
        for (p, sums) in sums.iter().enumerate() {
            for (b, &sum) in sums.iter().enumerate() {
                _mm512_store_si512(out.add((first + p) * B + b), sum);
            }
        }
    }
}

/// The halves of a line or of lanes.
///
/// # Safety
/// 64 aligned bytes are there.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn halves<T>(from: *const T) -> [__m256i; 2] {
    let from: *const __m256i = from.cast();
    // SAFETY: the caller's promise.
    unsafe { [_mm256_load_si256(from), _mm256_load_si256(from.add(1))] }
}

/// Writes the sums of windows, of a panel of one block.
///
/// # Safety
/// There are sums for all windows.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn write<const P: usize>(out: *mut Lanes, first: usize, sums: &[[__m256i; 2]; P]) {
    const { assert!(size_of::<Lanes>() == 2 * size_of::<__m256i>() && LANES == 16) };
    let out: *mut __m256i = out.cast();
    for (p, &[low, high]) in sums.iter().enumerate() {
        // SAFETY: the caller's promise; `Lanes` is 64 aligned bytes.
        unsafe {
            _mm256_store_si256(out.add(2 * (first + p)), low);
            _mm256_store_si256(out.add(2 * (first + p) + 1), high);
        }
    }
}

/// One block, `vpdpbusd` or `vpdpwssd` on 256 bits.
///
/// # Safety
/// As for [`avx512`], with one block.
#[target_feature(enable = "avx2,avxvnni")]
unsafe fn avxvnni<const WORDS: bool, const P: usize>(
    call: &Call<'_>,
    first: usize,
    out: *mut Lanes,
) {
    let windows: [*const u8; P] = places(call, first);
    // SAFETY: as in `avx512`.
    unsafe {
        let mut sums = [halves(&raw const call.starts[0]); P];
        for (&offset, line) in call.offsets.iter().zip(call.lines) {
            let line = halves(&raw const *line);
            for (sums, window) in sums.iter_mut().zip(windows) {
                let tap = window.add(offset as usize).cast::<i32>().read_unaligned();
                let tap = _mm256_set1_epi32(tap);
                for (sum, line) in sums.iter_mut().zip(line) {
                    *sum = if WORDS {
                        _mm256_dpwssd_avx_epi32(*sum, tap, line)
                    } else {
                        _mm256_dpbusd_avx_epi32(*sum, tap, line)
                    };
                }
            }
        }
        write(out, first, &sums);
    }
}

/// One block of i16.
///
/// # Safety
/// As for [`avx512`], with one block.
#[target_feature(enable = "avx2")]
unsafe fn avx2_words<const WORDS: bool, const P: usize>(
    call: &Call<'_>,
    first: usize,
    out: *mut Lanes,
) {
    let windows: [*const u8; P] = places(call, first);
    // SAFETY: as in `avx512`.
    unsafe {
        let mut sums = [halves(&raw const call.starts[0]); P];
        for (&offset, line) in call.offsets.iter().zip(call.lines) {
            let line = halves(&raw const *line);
            for (sums, window) in sums.iter_mut().zip(windows) {
                let tap = window.add(offset as usize).cast::<i32>().read_unaligned();
                let tap = _mm256_set1_epi32(tap);
                for (sum, line) in sums.iter_mut().zip(line) {
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(tap, line));
                }
            }
        }
        write(out, first, &sums);
    }
}

/// One block of bytes, whose products are added in 16 bits for a run of taps before they are widened.
///
/// # Safety
/// As for [`avx512`], with one block; the sums of each run of taps fit 16 bits.
#[target_feature(enable = "avx2")]
unsafe fn avx2_bytes<const WORDS: bool, const P: usize>(
    call: &Call<'_>,
    first: usize,
    out: *mut Lanes,
) {
    let windows: [*const u8; P] = places(call, first);
    let ones = _mm256_set1_epi16(1);
    // SAFETY: as in `avx512`.
    unsafe {
        let mut sums = [halves(&raw const call.starts[0]); P];
        let (mut offset, mut line) = (call.offsets.as_ptr(), call.lines.as_ptr());
        for &run in call.runs {
            let mut pairs = pair_products(&windows, *offset, line);
            for _ in 1..run {
                (offset, line) = (offset.add(1), line.add(1));
                let more = pair_products(&windows, *offset, line);
                for (pairs, more) in pairs.iter_mut().zip(more) {
                    for (pairs, more) in pairs.iter_mut().zip(more) {
                        *pairs = _mm256_add_epi16(*pairs, more);
                    }
                }
            }
            (offset, line) = (offset.add(1), line.add(1));
            for (sums, pairs) in sums.iter_mut().zip(pairs) {
                for (sum, pairs) in sums.iter_mut().zip(pairs) {
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
                }
            }
        }
        write(out, first, &sums);
    }
}

/// The sums of two products of one tap.
///
/// # Safety
/// AVX2 is present, the tap of each window and the line are there.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn pair_products<const P: usize>(
    windows: &[*const u8; P],
    offset: u32,
    line: *const Line,
) -> [[__m256i; 2]; P] {
    let mut pairs = [[_mm256_setzero_si256(); 2]; P];
    // SAFETY: the caller's promise.
    unsafe {
        let line = halves(line);
        for (pairs, window) in pairs.iter_mut().zip(windows) {
            let tap = window.add(offset as usize).cast::<i32>().read_unaligned();
            let tap = _mm256_set1_epi32(tap);
            for (pairs, line) in pairs.iter_mut().zip(line) {
                *pairs = _mm256_maddubs_epi16(tap, line);
            }
        }
    }
    pairs
}
