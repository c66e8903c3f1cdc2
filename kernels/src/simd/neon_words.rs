//! Sixteen numbers of 16 bits in two registers of NEON.
#![allow(unsafe_code)]

use std::arch::aarch64::*;

use crate::operands::{LANES, Lanes};
use crate::words::Words;

/// The lower and the upper half. All code is compiled for NEON on arm64.
#[derive(Clone, Copy)]
pub(super) struct Registers(int16x8_t, int16x8_t);

// SAFETY of all blocks: NEON is present, and references are to as many values as are read or written.
impl Words for Registers {
    #[inline(always)]
    fn requantized(sums: &Lanes, shift: u32, multipliers: &[i16; LANES]) -> Self {
        // SAFETY: as above.
        unsafe {
            let right = vdupq_n_s32(-(shift as i32));
            let sums = |at: usize| vshlq_s32(vld1q_s32(sums.0.as_ptr().add(at)), right);
            let half = |at: usize| vcombine_s16(vqmovn_s32(sums(at)), vqmovn_s32(sums(at + 4)));
            Self(half(0), half(8)).scaled_each(multipliers)
        }
    }

    #[inline(always)]
    fn load(from: &[i16; LANES]) -> Self {
        let from = from.as_ptr();
        // SAFETY: as above.
        unsafe { Self(vld1q_s16(from), vld1q_s16(from.add(8))) }
    }

    #[inline(always)]
    fn store(self, to: &mut [i16; LANES]) {
        let to = to.as_mut_ptr();
        // SAFETY: as above.
        unsafe {
            vst1q_s16(to, self.0);
            vst1q_s16(to.add(8), self.1);
        }
    }

    #[inline(always)]
    fn scaled(self, multiplier: i16) -> Self {
        self.scaled_each(&[multiplier; LANES])
    }

    #[inline(always)]
    fn scaled_each(self, multipliers: &[i16; LANES]) -> Self {
        let Self(low, high) = Self::load(multipliers);
        // Twice the product, rounded and divided by 2^16, is the product divided by 2^15.
        // SAFETY: as above.
        unsafe { Self(vqrdmulhq_s16(self.0, low), vqrdmulhq_s16(self.1, high)) }
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { Self(vqaddq_s16(self.0, other.0), vqaddq_s16(self.1, other.1)) }
    }

    #[inline(always)]
    fn relu(self) -> Self {
        // SAFETY: as above.
        unsafe {
            let zero = vdupq_n_s16(0);
            Self(vmaxq_s16(self.0, zero), vmaxq_s16(self.1, zero))
        }
    }

    #[inline(always)]
    fn store_bytes(self, zero: u8, to: &mut [u8; LANES]) {
        // SAFETY: as above.
        unsafe {
            let zero = vdupq_n_s16(zero.into());
            let narrow = |values| vqmovun_s16(vqaddq_s16(values, zero));
            vst1q_u8(to.as_mut_ptr(), vcombine_u8(narrow(self.0), narrow(self.1)));
        }
    }
}
