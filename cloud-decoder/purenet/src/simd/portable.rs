//! The kernel in plain Rust: the fallback, and what the others are tested against.

use super::{Lanes, PANEL, Windows};

const GROUP: usize = 8; // channels kept in registers together

pub(super) fn accumulate<const TILE: usize>(
    windows: Windows<'_>,
    weights: &[Lanes],
    wide: bool,
    sums: &mut [Lanes],
) {
    for first in (0..if wide { PANEL } else { PANEL / 2 }).step_by(GROUP) {
        let mut acc = [[0.0f32; GROUP]; TILE];
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
