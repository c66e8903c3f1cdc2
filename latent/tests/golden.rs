//! The codec gives the bytes of an independent model, and takes them apart again.

use std::{path::Path, sync::Arc};

use latent::{
    LatentFrame,
    codec::Header,
    prior::Prior,
    stream::{StreamDecoder, StreamEncoder},
};

/// More than all references of the golden frames take.
const TABLE: usize = 1 << 20;

fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_golden_frames() {
    let prior = Arc::new(Prior::from_bytes(&golden("tiny.pwp")).expect("a prior"));
    let mut encoder = StreamEncoder::new([prior.clone()], TABLE);
    let mut decoder = StreamDecoder::new([prior], TABLE);
    let (mut referenced, mut stored, mut mixed) = (0, 0, 0);
    let lines = String::from_utf8(golden("frames.txt")).expect("text");
    for (number, line) in lines.lines().enumerate() {
        let [camera, container, coded] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("line {number} has three words");
        };
        let [container, coded] = [container, coded].map(|bytes| hex::decode(bytes).expect("hex"));
        let frame = LatentFrame::decode(container.into()).expect("a container");
        let made = encoder
            .encode(camera, &frame)
            .expect("the prior describes it");
        assert!(
            made.bytes == coded,
            "frame {number}: other bytes than the model's"
        );
        let read = decoder.decode(camera, &coded, || true);
        assert!(
            read == Ok(frame.clone()),
            "frame {number}: {:?}",
            read.err()
        );
        let header = Header::read(&coded).expect("a header");
        referenced += usize::from(header.referenced);
        stored += usize::from(header.stored);
        mixed += usize::from(header.referenced && header.bits == 8);
    }
    assert!(
        referenced > 5 && stored > 2 && mixed > 1,
        "{referenced} {stored} {mixed}"
    );
}
