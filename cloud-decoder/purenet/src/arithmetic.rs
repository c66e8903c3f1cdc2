//! The operations that the format specifies (`docs/formats.md`, "Decoder"), one number at a time. [`kernels::Words`] has
//! them for sixteen.

use kernels::{LANES, Words};

/// One value for each output of a block.
pub(crate) type Block<T> = [T; LANES];

/// R of the format: `value` times `multiplier` / 2^15, rounded half up; `multiplier` is not negative.
///
/// This is (value * multiplier + 2^14) >> 15.
#[inline(always)]
pub(crate) fn scaled(value: i16, multiplier: i16) -> i16 {
    ((i32::from(value) * i32::from(multiplier) + (1 << 14)) >> 15) as i16
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
    /// Writes the bytes of a block.
    #[inline(always)]
    pub(crate) fn store<W: Words>(self, values: W, bytes: &mut Block<u8>) {
        values.scaled(self.scale).store_bytes(self.zero, bytes);
    }

    #[inline(always)]
    pub(crate) fn byte(self, value: i16) -> u8 {
        let value = scaled(value, self.scale).saturating_add(self.zero.into());
        value.clamp(0, 255) as u8
    }
}

/// Reads values in 16ths of a gray level as the bytes of a frame.
pub(crate) const PIXELS: Reading = Reading {
    scale: 1 << 11,
    zero: 0,
};

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
            assert_eq!(i32::from(PIXELS.byte(value)), expected);
        }
    }
}
