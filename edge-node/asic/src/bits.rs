//! Bit streams that fill each byte from its least significant bit.

/// Bytes that `count` fields of `bits` bits take.
pub(crate) fn packed_len(count: usize, bits: u32) -> usize {
    (count * bits as usize).div_ceil(8)
}

/// Field `index` of a stream of `bits`-wide fields, `bits` from 1 to 32.
pub(crate) fn get(bytes: &[u8], index: usize, bits: u32) -> u32 {
    let start = index * bits as usize;
    // A 32-bit field that starts inside a byte touches five.
    let window = bytes[start / 8..].iter().take(5).enumerate();
    let word = window.fold(0u64, |word, (i, &byte)| word | u64::from(byte) << (8 * i));
    (word >> (start % 8) & ((1 << bits) - 1)) as u32
}

/// The low `bits` bits of each value, packed; unused bits of the last byte are 0.
pub(crate) fn pack(values: impl ExactSizeIterator<Item = i32>, bits: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(packed_len(values.len(), bits));
    let (mut word, mut filled) = (0u64, 0);
    for value in values {
        word |= (u64::from(value as u32) & ((1 << bits) - 1)) << filled;
        filled += bits;
        while filled >= 8 {
            bytes.push(word as u8);
            word >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        bytes.push(word as u8);
    }
    bytes
}

/// Reads the low `bits` bits as two's complement.
pub(crate) fn sign_extend(value: u32, bits: u32) -> i32 {
    ((value << (32 - bits)) as i32) >> (32 - bits)
}

/// The unused bits of the last byte, after `used` bits of stream; 0 in a valid file.
pub(crate) fn spare(bytes: &[u8], used: usize) -> u8 {
    match (bytes.last(), used % 8) {
        (Some(&last), rest) if rest > 0 => last >> rest,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn fields_come_back(values in prop::collection::vec(any::<i32>(), 0..40), bits in 1u32..=32) {
            let bytes = pack(values.iter().copied(), bits);
            prop_assert_eq!(bytes.len(), packed_len(values.len(), bits));
            prop_assert_eq!(spare(&bytes, values.len() * bits as usize), 0);
            for (i, &value) in values.iter().enumerate() {
                let expected = sign_extend(value as u32, bits);
                prop_assert_eq!(sign_extend(get(&bytes, i, bits), bits), expected);
            }
        }
    }

    #[test]
    fn the_first_field_sits_in_the_lowest_bits() {
        assert_eq!(pack([1, -2, 3].into_iter(), 3), [0b1111_0001, 0b0]);
        assert_eq!(pack([1, 0, 0, 1].into_iter(), 1), [0b1001]);
        assert_eq!(spare(&[0b0001_0000], 4), 1);
    }
}
