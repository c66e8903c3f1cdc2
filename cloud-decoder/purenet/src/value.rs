//! Numbers that feature maps are held in.

use half::bf16;

/// A number of a feature map or, as a byte, of a frame.
pub(crate) trait Value: Copy + Send + Sync + 'static {
    const ZERO: Self;

    /// The nearest, of finite numbers.
    fn from_f32(value: f32) -> Self;

    fn to_f32(self) -> f32;
}

impl Value for f32 {
    const ZERO: Self = 0.0;

    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        value
    }

    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
}

impl Value for bf16 {
    const ZERO: Self = Self::ZERO;

    /// The upper half, ties to even. Not [`bf16::from_f32`], whose care for NaN the compiler makes no vector code of.
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        let bits = value.to_bits();
        let round = 0x7fff + (bits >> 16 & 1);
        Self::from_bits((bits.wrapping_add(round) >> 16) as u16)
    }

    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

/// A colour of a pixel, 0 to 1.
impl Value for u8 {
    const ZERO: Self = 0;

    /// Clamps to 0..=1, scales by 255 and rounds half to even.
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        // From 2^23 on, floats are the integers and the sum rounds half to even: the byte is the mantissa's
        // lowest. `f32::round_ties_even` is a library call on plain x86-64.
        (value.clamp(0.0, 1.0) * 255.0 + 8_388_608.0).to_bits() as u8
    }

    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from(self) / 255.0
    }
}

/// Values that begin at a cache line, with some to spare at the end that reads of whole tiles may touch.
pub(crate) struct Aligned<V> {
    held: Vec<V>,
    start: usize,
    len: usize,
}

impl<V: Value> Aligned<V> {
    const LINE: usize = 64 / size_of::<V>();
    /// Values after the last one.
    pub(crate) const SPARE: usize = Self::LINE;

    /// Makes `len` zeros and the spare ones.
    pub(crate) fn zeros(len: usize) -> Self {
        let held = vec![V::ZERO; len + Self::SPARE + Self::LINE];
        let start = held.as_ptr().align_offset(64) % Self::LINE;
        Self { held, start, len }
    }

    /// The values without those to spare.
    #[cfg(test)]
    pub(crate) fn values(&self) -> &[V] {
        &self.held[self.start..][..self.len]
    }

    pub(crate) fn values_mut(&mut self) -> &mut [V] {
        &mut self.held[self.start..][..self.len]
    }

    /// The values and those to spare.
    pub(crate) fn with_spare(&self) -> &[V] {
        &self.held[self.start..][..self.len + Self::SPARE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_half_to_even() {
        let halves = (0..=510).map(|i| i as f32 / 510.0);
        let near = halves.flat_map(|v| [v.next_down(), v, v.next_up()]);
        for value in near.chain([-1.0, -0.0, 2.0, f32::INFINITY, f32::NEG_INFINITY]) {
            let expected = (value.clamp(0.0, 1.0) * 255.0).round_ties_even() as u8;
            assert_eq!(u8::from_f32(value), expected, "{value}");
        }
        assert!((0..=u8::MAX).all(|byte| u8::from_f32(byte.to_f32()) == byte));
    }

    #[test]
    fn rounding_is_that_of_half() {
        let values = (0..u32::MAX).step_by(40_503).map(f32::from_bits);
        for value in values.filter(|value| value.is_finite()) {
            let ours = <bf16 as Value>::from_f32(value);
            assert_eq!(ours.to_bits(), bf16::from_f32(value).to_bits(), "{value}");
            assert_eq!(Value::to_f32(ours), ours.to_f32());
        }
    }
}
