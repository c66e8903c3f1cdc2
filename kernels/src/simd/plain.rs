//! The products in plain code, the reference of all others.
#![allow(unsafe_code)]

use crate::call::Call;
use crate::operands::{LANES, Lanes};

/// As [`Simd::lines`](super::Simd::lines).
///
/// # Safety
/// The taps of each window lie in the input.
pub(super) unsafe fn multiply(call: &Call<'_>, sums: &mut [Lanes]) {
    let blocks = call.starts.len();
    for (&window, sums) in call.windows.iter().zip(sums.chunks_exact_mut(blocks)) {
        sums.copy_from_slice(call.starts);
        let taps = call.offsets.iter().zip(call.lines.chunks_exact(blocks));
        for (&offset, lines) in taps {
            let from = call
                .input
                .wrapping_add(window * call.value + offset as usize);
            // SAFETY: the caller's promise.
            let tap = unsafe { from.cast::<[u8; 4]>().read() };
            for (sums, line) in sums.iter_mut().zip(lines) {
                for lane in 0..LANES {
                    let weights = &line.0[4 * lane..][..4];
                    sums.0[lane] = sums.0[lane].wrapping_add(product(call.words, tap, weights));
                }
            }
        }
    }
}

fn product(words: bool, tap: [u8; 4], weights: &[i8]) -> i32 {
    if words {
        let word = |bytes: &[u8]| i32::from(i16::from_le_bytes([bytes[0], bytes[1]]));
        let bytes: [u8; 4] = std::array::from_fn(|byte| weights[byte] as u8);
        let products = tap.chunks(2).zip(bytes.chunks(2));
        return products.fold(0, |sum, (a, b)| sum.wrapping_add(word(a) * word(b)));
    }
    let products = tap.iter().zip(weights);
    products.map(|(&a, &b)| i32::from(a) * i32::from(b)).sum()
}
