//! The operations that the format specifies (`docs/formats.md`, "Decoder"). All are exact, and the compiler makes
//! vector code of them.

use kernels::{LANES, Lanes};

/// One value for each output of a block.
pub(crate) type Block<T> = [T; LANES];

/// R of the format: `value` times `multiplier` / 2^15, rounded half up; `multiplier` is not negative.
///
/// This is (value * multiplier + 2^14) >> 15, in the form of which the compiler makes one instruction.
#[inline(always)]
pub(crate) fn scaled(value: i16, multiplier: i16) -> i16 {
    (((i32::from(value) * i32::from(multiplier)) >> 14) + 1 >> 1) as i16
}

/// The outputs of a block of sums, which half of 2^`shift` was added to.
#[inline(always)]
pub(crate) fn requantized(sums: &Lanes, shift: u32, multipliers: &Block<i16>) -> Block<i16> {
    let mut outputs = [0; LANES];
    let sums = sums.0.iter().zip(multipliers);
    for (output, (&sum, &multiplier)) in outputs.iter_mut().zip(sums) {
        let value = (sum >> shift).clamp(i16::MIN.into(), i16::MAX.into()) as i16;
        *output = scaled(value, multiplier);
    }
    outputs
}

/// Half of 2^`shift`, which rounds.
pub(crate) fn half(shift: u32) -> i32 {
    if shift == 0 { 0 } else { 1 << (shift - 1) }
}

/// How a convolution reads its input as bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) scale: i16,
    /// The byte of 0, which is also that of what lies beyond the border.
    pub(crate) zero: u8,
}

impl Reading {
    #[inline(always)]
    pub(crate) fn byte(self, value: i16) -> u8 {
        let value = scaled(value, self.scale).saturating_add(self.zero.into());
        value.clamp(0, 255) as u8
    }
}

/// The colour of a value in 16ths of a gray level.
#[inline(always)]
pub(crate) fn pixel(value: i16) -> u8 {
    (value.saturating_add(8) >> 4).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaled_rounds_half_up() {
        let values = (i16::MIN..=i16::MAX).step_by(127);
        for value in values.chain([i16::MIN, -1, 0, 1, i16::MAX]) {
            for multiplier in (0..=i16::MAX).step_by(113).chain([1, 16_384, i16::MAX]) {
                let product = i64::from(value) * i64::from(multiplier);
                let expected = (product + (1 << 14)).div_euclid(1 << 15);
                assert_eq!(i64::from(scaled(value, multiplier)), expected);
            }
        }
    }

    #[test]
    fn a_scale_of_nearly_one_keeps_bytes() {
        let reading = Reading {
            scale: i16::MAX,
            zero: 0,
        };
        for value in i16::MIN..=i16::MAX {
            assert_eq!(
                i32::from(reading.byte(value)),
                i32::from(value).clamp(0, 255)
            );
        }
    }

    #[test]
    fn pixels_round_half_up_and_clamp() {
        for value in i16::MIN..=i16::MAX {
            let expected = ((i32::from(value) + 8) >> 4).clamp(0, 255);
            assert_eq!(i32::from(pixel(value)), expected);
        }
    }
}
