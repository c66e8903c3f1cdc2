//! NEON, with the dot product and without. It multiplies signed by signed bytes, so 128 is subtracted from activations,
//! and sums start from a value that corrects for it.
#![allow(unsafe_code)]

use std::arch::aarch64::*;
use std::arch::asm;

use crate::call::Call;
use crate::kernel::Kernel;
use crate::operands::{LANES, Lanes};

/// Windows whose sums fit half the 32 registers.
const WINDOWS: usize = 4;
/// Registers of a block's sums, and of a line.
const QUARTERS: usize = LANES / 4;

/// The instructions that multiply.
const BYTES: u8 = 0;
const BYTES_DOT: u8 = 1;
const WORDS: u8 = 2;

/// As [`Simd::lines`](super::Simd::lines), for panels of one block.
///
/// # Safety
/// The machine has the kernel; the taps of each window lie in the input; for each tap there is a line, and for each
/// window a block of sums.
pub(super) unsafe fn multiply(kernel: Kernel, call: &Call<'_>, sums: *mut Lanes) {
    // SAFETY: the caller's promise.
    unsafe {
        match (kernel, call.words) {
            (_, true) => groups::<WORDS>(call, sums),
            (Kernel::NeonDot, false) => groups::<BYTES_DOT>(call, sums),
            _ => groups::<BYTES>(call, sums),
        }
    }
}

/// # Safety
/// The CPU has the instructions; the taps of each window lie in the input; lines and sums are there.
#[target_feature(enable = "neon")]
unsafe fn groups<const KIND: u8>(call: &Call<'_>, out: *mut Lanes) {
    let count = call.windows.len();
    // SAFETY: the caller's promise.
    unsafe {
        if count < WINDOWS {
            (0..count).for_each(|at| group::<KIND, 1>(call, at, out));
            return;
        }
        for first in (0..count).step_by(WINDOWS) {
            // The last group computes some windows again.
            group::<KIND, WINDOWS>(call, first.min(count - WINDOWS), out);
        }
    }
}

/// # Safety
/// As for [`groups`].
#[target_feature(enable = "neon")]
unsafe fn group<const KIND: u8, const P: usize>(call: &Call<'_>, first: usize, out: *mut Lanes) {
    let windows: [*const u8; P] = std::array::from_fn(|p| {
        call.input
            .wrapping_add(call.windows[first + p] * call.value)
    });
    // SAFETY: `Lanes` and `Line` hold four registers; all places are there by the caller's promise.
    unsafe {
        let start: [int32x4_t; QUARTERS] =
            std::array::from_fn(|q| vld1q_s32(call.starts[0].0.as_ptr().add(4 * q)));
        let mut sums = [start; P];
        for (&offset, line) in call.offsets.iter().zip(call.lines) {
            let line: [int8x16_t; QUARTERS] =
                std::array::from_fn(|q| vld1q_s8(line.0.as_ptr().add(16 * q)));
            for (sums, window) in sums.iter_mut().zip(windows) {
                let tap = window.add(offset as usize).cast::<i32>().read_unaligned();
                let mut tap = vreinterpretq_s8_s32(vdupq_n_s32(tap));
                if KIND != WORDS {
                    tap = veorq_s8(tap, vdupq_n_s8(i8::MIN));
                }
                for (sum, &weights) in sums.iter_mut().zip(&line) {
                    *sum = multiply_add::<KIND>(*sum, weights, tap);
                }
            }
        }
        let out: *mut i32 = out.cast();
        for (p, sums) in sums.into_iter().enumerate() {
            for (q, sum) in sums.into_iter().enumerate() {
                vst1q_s32(out.add((first + p) * LANES + 4 * q), sum);
            }
        }
    }
}

/// Each sum plus the products of its four bytes, or two words, of weights with those in their place.
///
/// # Safety
/// NEON is present, and for `BYTES_DOT` the dot product.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn multiply_add<const KIND: u8>(
    mut sums: int32x4_t,
    weights: int8x16_t,
    tap: int8x16_t,
) -> int32x4_t {
    match KIND {
        WORDS => {
            let (weights, tap) = (vreinterpretq_s16_s8(weights), vreinterpretq_s16_s8(tap));
            let low = vmull_s16(vget_low_s16(weights), vget_low_s16(tap));
            vaddq_s32(sums, vpaddq_s32(low, vmull_high_s16(weights, tap)))
        }
        BYTES_DOT => {
            // Rust 1.95 has no stable intrinsic for it.
            // SAFETY: the caller's promise; it works on registers alone.
            unsafe {
                asm!(
                    ".arch_extension dotprod",
                    "sdot {sums:v}.4s, {weights:v}.16b, {tap:v}.16b",
                    sums = inout(vreg) sums,
                    weights = in(vreg) weights,
                    tap = in(vreg) tap,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
            sums
        }
        _ => {
            // Two products of at most 64 * 128 fit 16 bits.
            let low = vmull_s8(vget_low_s8(weights), vget_low_s8(tap));
            vpadalq_s16(sums, vpaddq_s16(low, vmull_high_s8(weights, tap)))
        }
    }
}
