//! Reconstruction quality over a folder of images.

use std::path::Path;

use anyhow::{Context, Result};
use nqe::Emulator;
use patchwire_proto::latent::LatentFrame;
use purenet::Decoder;

use super::report::ImageFigures;
use crate::frames::{self, Frame};
use crate::{latents, terminal};

/// Encodes each image of `folder`, carries it as container bytes, decodes it and compares.
pub(super) fn measure(
    folder: &Path,
    emulator: &Emulator,
    decoder: &Decoder,
) -> Result<Vec<ImageFigures>> {
    let files = frames::list(folder)?;
    let bar = terminal::bar(files.len() as u64, "images");
    let mut figures = Vec::with_capacity(files.len());
    for file in &files {
        let frame = frames::load(file)?;
        figures.push(
            measure_one(&frame, emulator, decoder)
                .with_context(|| format!("cannot evaluate {}", file.display()))?,
        );
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(figures)
}

fn measure_one(frame: &Frame, emulator: &Emulator, decoder: &Decoder) -> Result<ImageFigures> {
    let container = latents::compress(emulator, frame)?.encode();
    let received = LatentFrame::decode(container)?;
    let rebuilt = latents::reconstruct(decoder, &received)?;
    let quality = quality::measure(&frame.rgb, &rebuilt, frame.width, frame.height)?;
    Ok(ImageFigures {
        name: frame.name.clone(),
        width: frame.width,
        height: frame.height,
        bpp: received.bits_per_pixel(),
        psnr_db: quality.psnr_db.is_finite().then_some(quality.psnr_db),
        ssim: quality.ssim,
        ms_ssim: quality.ms_ssim,
        seam_ratio: quality.seam_ratio,
    })
}
