//! The kernel with NEON.

use super::{Lanes, PANEL, Windows};
use std::arch::aarch64::*;

/// # Safety
/// The CPU has NEON, `windows.check(TILE, weights)` passes and `sums` has `TILE` entries.
#[target_feature(enable = "neon")]
pub(super) unsafe fn neon<const TILE: usize>(
    windows: Windows<'_>,
    weights: &[Lanes],
    wide: bool,
    sums: &mut [Lanes],
) {
    for first in (0..if wide { PANEL } else { PANEL / 2 }).step_by(16) {
        let mut acc = [[vdupq_n_f32(0.0); 4]; TILE];
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
