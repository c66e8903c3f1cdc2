//! Rebuilds a frame from its latents and measures it.

use std::time::Instant;

use crc32c::crc32c;
use daemon::boot::SPANS;
use latent::LatentFrame;
use rayon::ThreadPool;
use tokio_util::sync::CancellationToken;
use tracing::info_span;

use super::{
    error::DecodeError,
    registry::Decoders,
    thumbnail::{WriteError, thumbnail},
};
use crate::{
    frame::{Quality, Work},
    store::{Original, Pictures},
};

/// A frame rebuilt from its latents.
pub(super) struct Rebuilt {
    pub(super) pictures: Pictures,
    /// Id of the decoder.
    pub(super) decoder: [u8; 32],
    pub(super) quality: Quality,
    /// Whether the original's pixels are not those that the edge node encoded.
    pub(super) differs: bool,
    pub(super) work: Work,
}

/// Rebuilds a frame, measures it and compresses its pictures, on the threads of the pool that runs this.
pub(super) fn rebuild(
    decoders: &Decoders,
    latents: &LatentFrame,
    original: Option<Original>,
    stop: &CancellationToken,
) -> Result<Rebuilt, DecodeError> {
    let go_on = || !stop.is_cancelled();
    let decoder = decoders.of(latents)?;
    let (width, height) = (latents.width, latents.height);
    let start = Instant::now();
    let reconstructing = info_span!(target: SPANS, "reconstruct").entered();
    let rgb = match decoder.decode_while(&latents.payload, width, height, &go_on) {
        Err(purenet::DecodeError::Stopped) => return Err(DecodeError::Stopped),
        decoded => decoded?,
    };
    drop(reconstructing);
    let decode_ns = elapsed_ns(start);

    let start = Instant::now();
    let measuring = info_span!(target: SPANS, "measure").entered();
    let original = original.map(|original| pixels(&original, width, height));
    let original = original.transpose()?;
    let differs = matches!(original, Some(None));
    let quality = measure(original.flatten().as_deref(), &rgb, width, height)?;
    drop(measuring);
    if !go_on() {
        return Err(DecodeError::Stopped);
    }
    let measure_ns = elapsed_ns(start);
    let start = Instant::now();
    let (png, jpeg) = rayon::join(
        || media::reconstruction::encode(&rgb, width, height, &decoder.id()),
        || thumbnail(&rgb, width, height),
    );
    Ok(Rebuilt {
        pictures: Pictures {
            png: png.map_err(WriteError::from)?.into(),
            jpeg: jpeg?,
        },
        decoder: decoder.id(),
        quality,
        differs,
        work: Work {
            decode_ns,
            measure_ns,
            store_ns: elapsed_ns(start),
            finished_ms: 0,
        },
    })
}

/// The quality of a reconstruction; without an original, only its seam ratio.
fn measure(
    original: Option<&[u8]>,
    rgb: &[u8],
    width: u32,
    height: u32,
) -> Result<Quality, quality::QualityError> {
    let Some(original) = original else {
        return Ok(Quality {
            seam_ratio: quality::seam_ratio(rgb, width, height, quality::PATCH)?,
            ..Quality::default()
        });
    };
    let measured = quality::measure(original, rgb, width, height)?;
    Ok(Quality {
        psnr_db: Some(measured.psnr_db),
        ssim: Some(measured.ssim),
        ms_ssim: measured.ms_ssim,
        seam_ratio: measured.seam_ratio,
        original_seam_ratio: measured.original_seam_ratio,
    })
}

/// The original's pixels as RGB; `None` when they are not those that the edge node encoded.
fn pixels(original: &Original, width: u32, height: u32) -> Result<Option<Vec<u8>>, DecodeError> {
    let pixels = media::decode_as(&original.data, &original.media_type, (width, height));
    let pixels = pixels.map_err(DecodeError::Original)?;
    let same = original.crc32c.is_none_or(|crc| crc == crc32c(&pixels));
    Ok(same.then_some(pixels))
}

fn elapsed_ns(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Decodes one small frame of zeros with each decoder, so that a service that says it is ready can decode.
pub(crate) fn warm_up(decoders: &Decoders, pool: &ThreadPool) -> Result<(), purenet::DecodeError> {
    for decoder in decoders.iter() {
        let payload = vec![0; 4 * decoder.bits() as usize / 8];
        pool.install(|| decoder.decode(&payload, 64, 64))?;
    }
    Ok(())
}
