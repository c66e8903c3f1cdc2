//! The codec: whatever frames are sent, the other end has the same; whatever bytes come, they are refused or a frame.

mod support;

use std::sync::Arc;

use latent::{
    LatentFrame,
    codec::{self, CodecError, HEADER_BYTES, Header},
    prior::Prior,
    references::Reference,
    stream::{StreamDecoder, StreamEncoder},
};
use proptest::prelude::*;
use support::{changed, frame, prior};

/// Any of the sizes and bits a patch that the prior describes.
fn any_shape() -> impl Strategy<Value = (u32, u32, u32)> {
    (1u32..150, 1u32..150, prop::sample::select(vec![8, 16]))
}

proptest! {
    #[test]
    fn a_stream_brings_what_was_sent(
        shapes in prop::collection::vec((any_shape(), 0usize..3, 0u32..300), 1..12),
        table in prop::sample::select(vec![0, 400, 2000, 1 << 20]),
    ) {
        let mut encoder = StreamEncoder::new([prior()], table);
        let mut decoder = StreamDecoder::new([prior()], table);
        for ((width, height, bits), camera, changes) in shapes {
            let camera = ["a", "b", "c"][camera];
            let sent = changed(&frame(width, height, bits), changes);
            let coded = encoder.encode(camera, &sent).expect("the prior describes it");
            prop_assert!(coded.bytes.len() <= HEADER_BYTES + sent.payload.len());
            let header = Header::read(&coded.bytes).expect("a header");
            prop_assert_eq!(header.container_bytes(), sent.encode().len());
            prop_assert_eq!(header.referenced, coded.referenced);
            prop_assert!(decoder.decode(camera, &coded.bytes, || true) == Ok(sent));
            prop_assert!(decoder.table_bytes() <= table);
        }
    }

    #[test]
    fn damaged_bytes_are_refused(at in any::<prop::sample::Index>(), flip in 1u8.., referenced: bool) {
        let before = Reference::new(frame(300, 200, 16));
        let reference = referenced.then_some(&before);
        let sent = changed(&frame(300, 200, 16), 20);
        let mut coded = codec::encode(&prior(), &sent, reference).to_vec();
        let at = at.index(coded.len());
        coded[at] ^= flip;
        let read = codec::decode(&prior(), &coded, reference, || true);
        prop_assert!(read.is_err(), "byte {at} of {}", coded.len());
    }

    #[test]
    fn any_bytes_are_refused_or_a_frame(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut decoder = StreamDecoder::new([prior()], 1 << 20);
        let with_header = [&codec::encode(&prior(), &frame(64, 64, 16), None)[..HEADER_BYTES], &bytes].concat();
        for input in [bytes, with_header] {
            if let Ok(read) = decoder.decode("a", &input, || true) {
                prop_assert_eq!(read.check(), Ok(()));
            }
        }
    }
}

#[test]
fn what_is_cut_or_longer_is_named() {
    let sent = frame(300, 200, 16);
    let coded = codec::encode(&prior(), &sent, None);
    let read = |bytes: &[u8]| codec::decode(&prior(), bytes, None, || true).unwrap_err();
    for length in 0..HEADER_BYTES {
        assert_eq!(read(&coded[..length]), CodecError::TooShort(length));
    }
    for length in HEADER_BYTES..coded.len() - 1 {
        let error = read(&coded[..length]);
        assert!(
            matches!(error, CodecError::Ends | CodecError::Checksum { .. }),
            "{length}: {error}"
        );
    }
    assert_eq!(read(&[&coded[..], b"12345"].concat()), CodecError::Surplus);
}

#[test]
fn each_field_of_the_header_is_checked() {
    let coded = codec::encode(&prior(), &frame(300, 200, 16), None);
    let read = |at: usize, with: &[u8]| {
        let mut coded = coded.to_vec();
        coded[at..at + with.len()].copy_from_slice(with);
        codec::decode(&prior(), &coded, None, || true).unwrap_err()
    };
    assert_eq!(read(0, &[2]), CodecError::Version(2));
    assert_eq!(read(1, &[3]), CodecError::Flags(3));
    assert_eq!(read(1, &[1]), CodecError::Reference);
    assert!(matches!(read(2, &[9, 0]), CodecError::Frame(_)));
    assert_eq!(read(2, &[24, 0]), CodecError::Bits { bits: 24, max: 16 });
    assert!(matches!(read(4, &[0, 0]), CodecError::Frame(_)));
    assert!(matches!(read(6, &[1, 0x40]), CodecError::Frame(_)));
    assert!(matches!(read(8, &[0; 8]), CodecError::Prior(_)));
    assert!(matches!(read(16, &[0; 4]), CodecError::Checksum { .. }));
}

#[test]
fn a_reference_of_another_size_is_refused() {
    let before = Reference::new(frame(300, 200, 16));
    let coded = codec::encode(&prior(), &changed(&frame(300, 200, 16), 3), Some(&before));
    let other = Reference::new(frame(200, 300, 16));
    let read = codec::decode(&prior(), &coded, Some(&other), || true);
    assert_eq!(read.unwrap_err(), CodecError::Reference);
}

#[test]
fn a_reference_with_more_bits_than_the_prior_describes_is_refused() {
    // The golden prior for the first half of its bits: places and names are of the planes' smaller numbers.
    let file = support::prior_file();
    let modes = file[38..].chunks(2048 + 32 * 938);
    let halves = modes.flat_map(|mode| {
        let (shared, places) = mode.split_at(2048);
        let places = places.chunks(938).take(16);
        let places = places.flat_map(|place| [&[0; 42][..], &place[42..]].concat());
        shared.iter().copied().chain(places).collect::<Vec<_>>()
    });
    let half = [&file[..36], &[8, 0][..], &halves.collect::<Vec<_>>()].concat();
    let half = Prior::from_bytes(&half).expect("a prior");
    let before = Reference::new(frame(300, 200, 8));
    let mut coded = codec::encode(&half, &changed(&frame(300, 200, 8), 3), Some(&before)).to_vec();
    assert_eq!(
        Header::read(&coded).map(|header| header.referenced),
        Ok(true)
    );
    coded[16] ^= 1;
    let read = |reference| codec::decode(&half, &coded, Some(&reference), || true).unwrap_err();
    assert!(matches!(read(before), CodecError::Checksum { .. }));
    assert_eq!(
        read(Reference::new(frame(300, 200, 16))),
        CodecError::Reference
    );
}

#[test]
fn decoding_stops_when_it_is_told_to() {
    let coded = codec::encode(&prior(), &frame(300, 200, 16), None);
    let mut asked = 0;
    let read = codec::decode(&prior(), &coded, None, || {
        asked += 1;
        asked < 9
    });
    assert_eq!((read.unwrap_err(), asked), (CodecError::Stopped, 9));
}

#[test]
fn an_error_ends_a_frame_and_not_the_table() {
    let mut encoder = StreamEncoder::new([prior()], 1 << 20);
    let mut decoder = StreamDecoder::new([prior()], 1 << 20);
    let first = frame(300, 200, 16);
    let coded = encoder.encode("a", &first).expect("it is described");
    assert!(decoder.decode("a", &coded.bytes[..30], || true).is_err());
    assert_eq!(
        decoder.decode("a", &coded.bytes, || true),
        Ok(first.clone())
    );
    let second = changed(&first, 5);
    let coded = encoder.encode("a", &second).expect("it is described");
    assert!(
        coded.referenced && coded.bytes.len() < 80,
        "{} bytes",
        coded.bytes.len()
    );
    assert_eq!(
        decoder.decode("b", &coded.bytes, || true),
        Err(CodecError::Reference)
    );
    assert_eq!(decoder.decode("a", &coded.bytes, || true), Ok(second));
}

#[test]
fn frames_that_no_prior_describes_are_not_coded() {
    let mut encoder = StreamEncoder::new([prior()], 1 << 20);
    let other = LatentFrame {
        program: [1; 32],
        ..frame(64, 64, 16)
    };
    assert_eq!(encoder.encode("a", &other), None);
    assert_eq!(encoder.encode("a", &frame(64, 64, 24)), None);
    let mut decoder = StreamDecoder::new([], 1 << 20);
    let coded = codec::encode(&prior(), &frame(64, 64, 16), None);
    let unknown = Err(CodecError::Prior(prior().id()));
    assert_eq!(decoder.decode("a", &coded, || true), unknown);
}

#[test]
fn the_table_drops_what_was_kept_longest_ago() {
    // Room for two cameras.
    let frames: Vec<_> = (0..3).map(|at| changed(&frame(96, 96, 16), at)).collect();
    let mut encoder = StreamEncoder::new([prior()], 2 * (5 * 18 + 512) + 100);
    let mut referenced = |camera| {
        encoder
            .encode(camera, &frames[0])
            .expect("described")
            .referenced
    };
    assert!(!referenced("a") && !referenced("b") && referenced("a"));
    // In place of b, which was kept before a.
    assert!(!referenced("c") && referenced("a") && !referenced("b"));
    // In place of c.
    assert!(referenced("a") && !referenced("c"));
}

#[test]
fn a_frame_that_the_table_cannot_hold_takes_its_former_entry_away() {
    let mut encoder = StreamEncoder::new([prior()], 5 * 18 + 512 - 1);
    let mut referenced = |bits| {
        encoder
            .encode("a", &frame(96, 96, bits))
            .expect("described")
            .referenced
    };
    assert!(!referenced(8) && referenced(8));
    assert!(referenced(16) && !referenced(8));
}

#[test]
fn priors_that_are_none_are_named() {
    use latent::prior::PriorError;
    let file = support::prior_file();
    let error = |file: &[u8]| Prior::from_bytes(file).unwrap_err();
    assert_eq!(error(b"PWP2"), PriorError::Magic);
    assert!(matches!(error(&file[..20]), PriorError::Length { .. }));
    assert!(matches!(
        error(&file[..file.len() - 1]),
        PriorError::Length { .. }
    ));
    let with = |at: usize, with: u8| {
        let mut file = file.clone();
        file[at] = with;
        error(&file)
    };
    assert_eq!(with(36, 9), PriorError::Bits(9));
    // The first name of the first place.
    assert!(matches!(with(38 + 2048 + 1, 255), PriorError::Name(_)));
    assert_eq!(
        Arc::new(Prior::from_bytes(&file).expect("a prior")).bits(),
        16
    );
}
