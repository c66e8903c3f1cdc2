//! NEON, with the dot product and without.

use std::arch::aarch64::*;
use std::arch::asm;

use super::lanes::{BLOCKS, LANES, Lanes, Line, TILE, Taps};

/// Positions whose sums of a block fit half the 32 registers.
const GROUP: usize = 4;
/// Registers of a block's sums, and of a line.
const QUARTERS: usize = LANES / 4;

/// # Safety
/// NEON is present, and with `SDOT` the dot product.
#[target_feature(enable = "neon")]
pub(super) unsafe fn spin<const SDOT: bool>(rounds: u64) -> u64 {
    let ones = std::hint::black_box(vdupq_n_s8(1));
    let mut sums = [vdupq_n_s32(0); 16];
    for _ in 0..rounds {
        for sum in &mut sums {
            // The factor changes each time, or the compiler would compute the products once.
            let activations = vreinterpretq_s8_s32(*sum);
            // SAFETY: the caller's promise.
            *sum = unsafe { multiply_add::<SDOT>(*sum, ones, activations) };
        }
    }
    std::hint::black_box(sums);
    rounds * 16 * 2 * 16
}

/// # Safety
/// NEON is present, and with `SDOT` the dot product; `base + offset + 4 <= input.len()` for every base and offset of
/// the taps; `weights` holds `B * taps.len()` lines; `P * B <= TILE * BLOCKS`.
#[target_feature(enable = "neon")]
pub(super) unsafe fn dot<const SDOT: bool, const P: usize, const B: usize>(
    input: &[u8],
    bases: &[usize; P],
    taps: &Taps,
    weights: &[Line],
    starts: &[Lanes; B],
    acc: &mut [Lanes; TILE * BLOCKS],
) {
    let windows: [*const u8; P] = bases.map(|base| input.as_ptr().wrapping_add(base));
    let (groups, rest) = windows.as_chunks::<GROUP>();
    for (b, start) in starts.iter().enumerate() {
        let lines = &weights[b * taps.len()..][..taps.len()];
        let mut acc = acc.iter_mut().skip(b).step_by(B);
        for windows in groups {
            // SAFETY: the caller's promise, as windows start at bases.
            let sums = unsafe { block::<SDOT, GROUP>(windows, taps, lines, start) };
            for (sums, acc) in sums.into_iter().zip(acc.by_ref()) {
                *acc = sums;
            }
        }
        for &window in rest {
            // SAFETY: as above.
            let sums = unsafe { block::<SDOT, 1>(&[window], taps, lines, start) };
            for (sums, acc) in sums.into_iter().zip(acc.by_ref()) {
                *acc = sums;
            }
        }
    }
}

/// # Safety
/// NEON is present, and with `SDOT` the dot product; four bytes can be read at every window plus offset.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn block<const SDOT: bool, const W: usize>(
    windows: &[*const u8; W],
    taps: &Taps,
    lines: &[Line],
    start: &Lanes,
) -> [Lanes; W] {
    // SAFETY: the caller's promise.
    unsafe {
        if taps.pixels {
            block_of::<SDOT, true, W>(windows, &taps.offsets, lines, start)
        } else {
            block_of::<SDOT, false, W>(windows, &taps.offsets, lines, start)
        }
    }
}

/// # Safety
/// As for [`block`].
#[target_feature(enable = "neon")]
unsafe fn block_of<const SDOT: bool, const PIXELS: bool, const W: usize>(
    windows: &[*const u8; W],
    offsets: &[u32],
    lines: &[Line],
    start: &Lanes,
) -> [Lanes; W] {
    // SAFETY: `Lanes` holds four registers.
    let start: [int32x4_t; QUARTERS] =
        std::array::from_fn(|q| unsafe { vld1q_s32(start.0.as_ptr().add(4 * q)) });
    let mut sums = [start; W];
    for (&offset, line) in offsets.iter().zip(lines) {
        // SAFETY: `Line` holds four registers.
        let line: [int8x16_t; QUARTERS] =
            std::array::from_fn(|q| unsafe { vld1q_s8(line.0.as_ptr().add(16 * q)) });
        for (sums, window) in sums.iter_mut().zip(windows) {
            // SAFETY: the caller's promise.
            let four = unsafe { window.add(offset as usize).cast::<i32>().read_unaligned() };
            let four = if SDOT {
                vsetq_lane_s32::<0>(four, vdupq_n_s32(0))
            } else {
                vdupq_n_s32(four)
            };
            let mut activations = vreinterpretq_s8_s32(four);
            if PIXELS {
                // Less 128.
                activations = veorq_s8(activations, vdupq_n_s8(i8::MIN));
            }
            for (sum, &weights) in sums.iter_mut().zip(&line) {
                // SAFETY: the caller's promise.
                *sum = unsafe { multiply_add::<SDOT>(*sum, weights, activations) };
            }
        }
    }
    sums.map(|sums| {
        let mut lanes = Lanes::default();
        for (q, sum) in sums.into_iter().enumerate() {
            // SAFETY: `Lanes` holds four registers.
            unsafe { vst1q_s32(lanes.0.as_mut_ptr().add(4 * q), sum) };
        }
        lanes
    })
}

/// Each sum plus the products of its four weights with four activations: with `SDOT` the first four, else those in
/// their place.
///
/// # Safety
/// NEON is present, and with `SDOT` the dot product.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn multiply_add<const SDOT: bool>(
    mut sums: int32x4_t,
    weights: int8x16_t,
    activations: int8x16_t,
) -> int32x4_t {
    if SDOT {
        // Rust 1.95 has no stable intrinsic for it.
        // SAFETY: the caller's promise; it works on registers alone.
        unsafe {
            asm!(
                ".arch_extension dotprod",
                "sdot {sums:v}.4s, {weights:v}.16b, {activations:v}.4b[0]",
                sums = inout(vreg) sums,
                weights = in(vreg) weights,
                activations = in(vreg) activations,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        return sums;
    }
    // Two products of at most 2 * 128 fit 16 bits.
    let low = vmull_s8(vget_low_s8(weights), vget_low_s8(activations));
    let high = vmull_high_s8(weights, activations);
    vpadalq_s16(sums, vpaddq_s16(low, high))
}
