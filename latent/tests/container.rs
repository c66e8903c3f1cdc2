//! The latent container: round trips, each refusal by name, and hostile bytes.

use bytes::Bytes;
use latent::{LatentError, LatentFrame, OVERHEAD_BYTES};
use proptest::prelude::*;

fn frame(bits: u32, width: u32, height: u32) -> LatentFrame {
    let bytes =
        u64::from(width.div_ceil(32)) * u64::from(height.div_ceil(32)) * u64::from(bits / 8);
    let payload: Vec<u8> = (0..bytes).map(|i| (i * 31 % 251) as u8).collect();
    LatentFrame {
        bits,
        width,
        height,
        program: [7; 32],
        payload: payload.into(),
    }
}

/// A valid container with the bytes at `at` replaced and the checksum made right again.
fn patched(at: usize, with: &[u8]) -> Bytes {
    let mut bytes = frame(256, 40, 33).encode().to_vec();
    bytes[at..at + with.len()].copy_from_slice(with);
    let end = bytes.len() - 4;
    let crc = crc32c::crc32c(&bytes[..end]);
    bytes[end..].copy_from_slice(&crc.to_le_bytes());
    bytes.into()
}

#[test]
fn layout_is_the_documented_one() {
    let frame = frame(256, 768, 512);
    let bytes = frame.encode();
    assert_eq!(&bytes[..8], b"PWL1\x01\x00\x00\x01");
    assert_eq!(&bytes[8..16], [0, 3, 0, 0, 0, 2, 0, 0]);
    assert_eq!(&bytes[16..48], [7; 32]);
    assert_eq!(bytes.len(), OVERHEAD_BYTES + 24 * 16 * 32);
    assert_eq!(
        &bytes[bytes.len() - 4..],
        crc32c::crc32c(&bytes[..bytes.len() - 4]).to_le_bytes()
    );
    assert_eq!((frame.patches_x(), frame.patches_y()), (24, 16));
    assert_eq!(frame.bits_per_pixel(), 0.25);
}

#[test]
fn each_wrong_field_is_named() {
    use LatentError as E;
    let refused = |bytes: Bytes| LatentFrame::decode(bytes).expect_err("must be refused");
    assert_eq!(refused(Bytes::new()), E::TooShort { actual: 0 });
    assert_eq!(refused(patched(0, b"PWL2")), E::Magic(*b"PWL2"));
    assert_eq!(refused(patched(4, &[2])), E::Version(2));
    assert_eq!(refused(patched(5, &[1])), E::Flags(1));
    for bits in [0u16, 7, 12, 4097, 4104, u16::MAX] {
        assert_eq!(
            refused(patched(6, &bits.to_le_bytes())),
            E::Bits(bits.into())
        );
    }
    for width in [0u32, 16385, u32::MAX] {
        assert_eq!(
            refused(patched(8, &width.to_le_bytes())),
            E::Side { width, height: 33 }
        );
    }
    assert_eq!(
        refused(patched(12, &0u32.to_le_bytes())),
        E::Side {
            width: 40,
            height: 0
        }
    );
    assert_eq!(
        refused(patched(12, &65u32.to_le_bytes())),
        E::Length {
            expected: 6 * 32,
            actual: 4 * 32
        }
    );
    let mut flipped = frame(256, 40, 33).encode().to_vec();
    flipped[60] ^= 1;
    assert!(matches!(refused(flipped.into()), E::Checksum { .. }));
}

#[test]
fn a_frame_beyond_the_limits_encodes_to_something_refused() {
    for bad in [
        LatentFrame {
            bits: 65_536 + 256,
            ..frame(256, 32, 32)
        },
        LatentFrame {
            width: 33,
            ..frame(256, 32, 32)
        },
        LatentFrame {
            payload: Bytes::new(),
            ..frame(256, 32, 32)
        },
    ] {
        assert!(bad.check().is_err());
        assert!(LatentFrame::decode(bad.encode()).is_err(), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn round_trip(eighths in 1u32..=512, width in 1u32..200, height in 1u32..200, program: [u8; 32]) {
        let before = LatentFrame { program, ..frame(eighths * 8, width, height) };
        prop_assert_eq!(LatentFrame::decode(before.encode()), Ok(before));
    }

    #[test]
    fn hostile_bytes_never_panic(bytes: Vec<u8>) {
        let bytes = Bytes::from(bytes);
        if let Ok(frame) = LatentFrame::decode(bytes.clone()) {
            prop_assert_eq!(frame.encode(), bytes);
        }
    }

    #[test]
    fn hostile_headers_never_panic_nor_pass(header: [u8; 44], tail in 0usize..200) {
        let mut bytes = b"PWL1".to_vec();
        bytes.extend(header);
        bytes.resize(bytes.len() + tail, 0x5a);
        prop_assert!(LatentFrame::decode(bytes.into()).is_err());
    }

    #[test]
    fn every_truncation_and_bit_flip_is_refused(at in 0usize..(52 + 128), bit in 0u8..8) {
        let whole = frame(256, 40, 33).encode();
        prop_assert!(LatentFrame::decode(whole.slice(..at)).is_err());
        let mut flipped = whole.to_vec();
        flipped[at] ^= 1 << bit;
        prop_assert!(LatentFrame::decode(flipped.into()).is_err());
    }
}

proptest! {
    #[test]
    fn a_prefix_is_the_first_bits_of_each_patch(
        bytes in 1u32..40,
        kept in 0u32..42,
        width in 1u32..130,
        height in 1u32..130,
    ) {
        let whole = frame(8 * bytes, width, height);
        let found = whole.prefix(8 * kept);
        if kept == 0 || kept > bytes {
            let (asked, there) = (8 * kept, 8 * bytes);
            prop_assert_eq!(found, Err(LatentError::Prefix { asked, there }));
        } else {
            let found = found.unwrap();
            prop_assert_eq!(found.check(), Ok(()));
            for patch in 0..whole.patches() as usize {
                let all = &whole.payload[patch * bytes as usize..];
                let first = &found.payload[patch * kept as usize..];
                prop_assert_eq!(&first[..kept as usize], &all[..kept as usize]);
            }
        }
    }
}

#[test]
fn a_prefix_of_bits_inside_a_byte_is_refused() {
    let refused = LatentError::Prefix {
        asked: 12,
        there: 256,
    };
    assert_eq!(frame(256, 40, 33).prefix(12), Err(refused));
}
