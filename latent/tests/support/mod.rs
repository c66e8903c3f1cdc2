//! Frames that the golden prior describes.

use std::sync::{Arc, LazyLock};

use latent::{LatentFrame, prior::Prior};

static PRIOR: LazyLock<Arc<Prior>> =
    LazyLock::new(|| Arc::new(Prior::from_bytes(&prior_file()).expect("a prior")));

/// The file of the golden prior, of 16 bits a patch.
pub(crate) fn prior_file() -> Vec<u8> {
    include_bytes!("../golden/tiny.pwp").to_vec()
}

/// The golden prior.
pub(crate) fn prior() -> Arc<Prior> {
    PRIOR.clone()
}

/// A frame whose patches are all alike.
pub(crate) fn frame(width: u32, height: u32, bits: u32) -> LatentFrame {
    let patches = width.div_ceil(32) * height.div_ceil(32);
    LatentFrame {
        bits,
        width,
        height,
        program: *prior().program(),
        payload: vec![0b1010_0110; (patches * bits / 8) as usize].into(),
    }
}

/// The frame with so many of its bits flipped, spread without a pattern.
pub(crate) fn changed(frame: &LatentFrame, flips: u32) -> LatentFrame {
    let mut payload = frame.payload.to_vec();
    for flip in 0..flips as usize {
        let at = flip * 7919 % (8 * payload.len());
        payload[at / 8] ^= 1 << (at % 8);
    }
    LatentFrame {
        payload: payload.into(),
        ..frame.clone()
    }
}
