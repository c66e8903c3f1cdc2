//! Sixteen numbers of 16 bits in a register of AVX2.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use crate::operands::{LANES, Lanes};
use crate::words::Words;

/// Exists only in code that is compiled for AVX2 or more, where the instructions were found.
#[derive(Clone, Copy)]
pub(super) struct Register(__m256i);

// SAFETY of all blocks: `vectorized` makes this type the vectors of code only where AVX2 is present, and references are
// to as many values as are read or written.
impl Words for Register {
    #[inline(always)]
    fn requantized(sums: &Lanes, shift: u32, multipliers: &[i16; LANES]) -> Self {
        let sums = sums.0.as_ptr().cast::<__m256i>();
        // SAFETY: as above.
        unsafe {
            let shift = _mm_cvtsi32_si128(shift as i32);
            let low = _mm256_sra_epi32(_mm256_load_si256(sums), shift);
            let high = _mm256_sra_epi32(_mm256_load_si256(sums.add(1)), shift);
            // Packing takes half of either by turns.
            let packed = _mm256_packs_epi32(low, high);
            let values = _mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
            Self(values).scaled_each(multipliers)
        }
    }

    #[inline(always)]
    fn load(from: &[i16; LANES]) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_loadu_si256(from.as_ptr().cast()) })
    }

    #[inline(always)]
    fn store(self, to: &mut [i16; LANES]) {
        // SAFETY: as above.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), self.0) };
    }

    #[inline(always)]
    fn scaled(self, multiplier: i16) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_mulhrs_epi16(self.0, _mm256_set1_epi16(multiplier)) })
    }

    #[inline(always)]
    fn scaled_each(self, multipliers: &[i16; LANES]) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_mulhrs_epi16(self.0, Self::load(multipliers).0) })
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_adds_epi16(self.0, other.0) })
    }

    #[inline(always)]
    fn relu(self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_max_epi16(self.0, _mm256_setzero_si256()) })
    }

    #[inline(always)]
    fn store_bytes(self, zero: u8, to: &mut [u8; LANES]) {
        // SAFETY: as above.
        unsafe {
            let values = _mm256_adds_epi16(self.0, _mm256_set1_epi16(zero.into()));
            let (low, high) = (
                _mm256_castsi256_si128(values),
                _mm256_extracti128_si256::<1>(values),
            );
            _mm_storeu_si128(to.as_mut_ptr().cast(), _mm_packus_epi16(low, high));
        }
    }
}
