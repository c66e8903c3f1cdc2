//! The products in plain code, the reference of all others.
#![allow(unsafe_code)]

use crate::call::Call;
use crate::operands::{Lanes, Line, TAP};

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
            let tap = unsafe { from.cast::<[u8; TAP]>().read() };
            for (sums, line) in sums.iter_mut().zip(lines) {
                if call.words {
                    add_words(sums, tap, line);
                } else {
                    add_bytes(sums, tap, line);
                }
            }
        }
    }
}

/// Adds four products of u8 and i8 to each sum.
fn add_bytes(sums: &mut Lanes, tap: [u8; TAP], line: &Line) {
    let tap = tap.map(i32::from);
    let (lanes, _) = line.0.as_chunks::<TAP>();
    for (sum, weights) in sums.0.iter_mut().zip(lanes) {
        let weights = weights.map(i32::from);
        let products = tap[0] * weights[0] + tap[1] * weights[1];
        *sum = sum.wrapping_add(products + tap[2] * weights[2] + tap[3] * weights[3]);
    }
}

/// Adds two products of i16 to each sum.
fn add_words(sums: &mut Lanes, tap: [u8; TAP], line: &Line) {
    let word = |low: u8, high: u8| i32::from(i16::from_le_bytes([low, high]));
    let (first, second) = (word(tap[0], tap[1]), word(tap[2], tap[3]));
    let (lanes, _) = line.0.as_chunks::<TAP>();
    for (sum, &[a, b, c, d]) in sums.0.iter_mut().zip(lanes) {
        let weights = [word(a as u8, b as u8), word(c as u8, d as u8)];
        // Only the sum of two products of the least words leaves 32 bits.
        let products = (first * weights[0]).wrapping_add(second * weights[1]);
        *sum = sum.wrapping_add(products);
    }
}
