//! The sums that frames add to those of their cameras.

use crate::frame::{FrameState, NewFrame, Quality};

/// Columns of a camera's sums, in the order of [`camera_sums`].
pub(super) const CAMERA_SUMS: [&str; 7] = [
    "frames",
    "labelled",
    "pixels",
    "latent_bits",
    "bytes",
    "source_bytes",
    "sourced_bits",
];

/// The numbers that a frame adds to its camera's sums. Pixels and bits are those of frames with latents; `source_bytes`
/// and `sourced_bits` are those of frames whose edge node reported the bytes that the camera sent.
pub(super) fn camera_sums(new: &NewFrame) -> [i64; CAMERA_SUMS.len()] {
    let labelled = new.state() == FrameState::Labelled;
    let latent_bits = saturate(new.latent_bits);
    let sourced = latent_bits > 0 && new.source_bytes > 0;
    let when = |is: bool, value: i64| if is { value } else { 0 };
    [
        1,
        labelled.into(),
        when(!labelled, i64::from(new.width) * i64::from(new.height)),
        latent_bits,
        saturate(new.bytes),
        when(sourced, saturate(new.source_bytes)),
        when(sourced, latent_bits),
    ]
}

/// The PSNR for a camera's mean; an infinite one is left out, because it would stay in the sum.
pub(super) fn measured(quality: Quality) -> Option<f64> {
    quality.psnr_db.filter(|psnr| psnr.is_finite())
}

/// Integers of the databases are signed.
pub(super) fn saturate(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
