//! Coded latents, and the table of references that they change.

use std::sync::{Arc, LazyLock};

use ::latent::{
    LatentFrame,
    codec::{CodecError, HEADER_BYTES, Header},
    prior::Prior,
    stream::{StreamDecoder, StreamEncoder},
};

/// Larger frames are read by their header alone.
const MOST_BYTES: usize = 256;
/// Room for a few frames.
const TABLE: usize = 2 << 10;
/// Offset of the checksum in a header.
const CHECKSUM: usize = 16;

static PRIOR: LazyLock<Arc<Prior>> = LazyLock::new(|| {
    let file = include_bytes!("../../latent/tests/golden/tiny.pwp");
    Arc::new(Prior::from_bytes(file).expect("the golden prior is one"))
});

pub(crate) fn run(input: &[u8]) {
    let mut decoder = StreamDecoder::new([PRIOR.clone()], TABLE);
    // Two frames of a camera, of 64 bytes at most, one after the other on one stream.
    for coded in input.chunks(64).take(2) {
        read(&mut decoder, &named(coded));
    }
    read(&mut decoder, input);
    write(input);
}

/// The input with the version and the prior of a header that is read.
fn named(input: &[u8]) -> Vec<u8> {
    let mut coded = input.to_vec();
    coded.resize(coded.len().max(HEADER_BYTES), 0);
    coded[0] = 1;
    coded[8..16].copy_from_slice(&PRIOR.id().0);
    coded
}

fn read(decoder: &mut StreamDecoder, coded: &[u8]) {
    let Ok(header) = Header::read(coded) else {
        return;
    };
    if header.container_bytes() > MOST_BYTES {
        return;
    }
    let frame = match decoder.decode("a", coded, || true) {
        Err(CodecError::Checksum { computed, .. }) => {
            let mut mended = coded.to_vec();
            mended[CHECKSUM..HEADER_BYTES].copy_from_slice(&computed.to_le_bytes());
            let frame = decoder.decode("a", &mended, || true);
            frame.expect("only its checksum was wrong")
        }
        Err(error) => return assert!(!error.to_string().is_empty()),
        Ok(frame) => frame,
    };
    assert_eq!(frame.check(), Ok(()));
    assert_eq!(frame.encode().len(), header.container_bytes());
    assert!(decoder.table_bytes() <= TABLE, "the table has a bound");
}

/// Codes frames whose bits are the input, and reads them again.
fn write(input: &[u8]) {
    let mut encoder = StreamEncoder::new([PRIOR.clone()], TABLE);
    let mut decoder = StreamDecoder::new([PRIOR.clone()], TABLE);
    for (number, payload) in input.chunks(8).take(4).enumerate() {
        let bits = if number == 2 { 8 } else { 16 };
        let patches = 8 * payload.len() as u32 / bits;
        let frame = LatentFrame {
            bits,
            width: 32 * patches.max(1),
            height: 20,
            program: *PRIOR.program(),
            payload: payload[..(patches * bits / 8) as usize].to_vec().into(),
        };
        if frame.check().is_err() {
            continue;
        }
        let coded = encoder.encode("a", &frame).expect("the prior describes it");
        let read = decoder.decode("a", &coded.bytes, || true);
        assert!(
            read == Ok(frame),
            "a frame comes as it went: {:?}",
            read.err()
        );
    }
}
