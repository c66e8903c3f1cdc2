//! Latent containers.

use std::sync::LazyLock;

use ::latent::LatentFrame;
use bytes::Bytes;

use crate::decoder::{self, Tiny};

/// Frames of more patches are read and not decoded.
const MOST_PATCHES: u64 = 4;

static TINY: LazyLock<Tiny> = LazyLock::new(|| {
    Tiny::load(include_bytes!("../seeds/decoder/tiny")).expect("the tiny decoder is one")
});

pub(crate) fn run(input: &[u8]) {
    read(Bytes::copy_from_slice(input));
    if let Some(sealed) = seal(input) {
        read(sealed);
    }
}

/// The input with the checksum that a container of its bytes has.
pub(crate) fn seal(container: &[u8]) -> Option<Bytes> {
    let (content, _) = container.split_last_chunk::<4>()?;
    let checksum = crc32c::crc32c(content).to_le_bytes();
    Some([content, &checksum].concat().into())
}

fn read(container: Bytes) {
    let frame = match LatentFrame::decode(container.clone()) {
        Ok(frame) => frame,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert!(frame.encode() == container, "a frame has one encoding");
    let least = frame.prefix(8).expect("each patch has 8 bits");
    assert_eq!(least.patches(), frame.patches());
    assert!(LatentFrame::decode(least.encode()) == Ok(least));
    if frame.patches() > MOST_PATCHES {
        return;
    }
    let decoded = TINY.decode(&frame.payload, frame.width, frame.height);
    let rate_fits = TINY.rates().contains(&frame.bits);
    assert_eq!(decoded.is_ok(), rate_fits, "{decoded:?}");
    if let Ok(rgb) = decoded {
        decoder::whole(&rgb, frame.width, frame.height);
    }
}
