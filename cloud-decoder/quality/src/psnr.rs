//! Peak signal-to-noise ratio.

use rayon::prelude::*;

/// PSNR in dB of two buffers of equal, nonzero length. The squared error is summed in integers, exactly.
pub(crate) fn psnr(first: &[u8], second: &[u8]) -> f64 {
    const CHUNK: usize = 1 << 15; // 255^2 * CHUNK fits u32
    let squared_error: u64 = first
        .par_chunks(CHUNK)
        .zip(second.par_chunks(CHUNK))
        .map(|(a, b)| {
            let sum: u32 = a
                .iter()
                .zip(b)
                .map(|(a, b)| u32::from(a.abs_diff(*b)).pow(2))
                .sum();
            u64::from(sum)
        })
        .sum();
    let mean = squared_error as f64 / first.len() as f64;
    10.0 * (255.0 * 255.0 / mean).log10()
}
