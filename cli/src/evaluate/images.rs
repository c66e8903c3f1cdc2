//! Reconstruction quality over a folder of images, at every rate of the decoder.

use std::path::Path;

use ::latent::LatentFrame;
use anyhow::{Context, Result};
use nqe::Emulator;
use purenet::Decoder;

use super::figures::ImageFigures;
use crate::frames::{self, Frame};
use crate::{latents, terminal};

/// The images of a folder at one rate.
pub(super) struct Rate {
    /// Bits per patch.
    pub(super) bits: u32,
    pub(super) images: Vec<ImageFigures>,
}

/// Encodes each image of `folder` once, carries each rate of `decoder` as container bytes, decodes it and
/// compares; rates increase.
pub(super) fn measure(folder: &Path, emulator: &Emulator, decoder: &Decoder) -> Result<Vec<Rate>> {
    let files = frames::list(folder)?;
    let mut rates: Vec<Rate> = decoder
        .rates()
        .iter()
        .map(|&bits| Rate {
            bits,
            images: Vec::with_capacity(files.len()),
        })
        .collect();
    let bar = terminal::bar((files.len() * rates.len()) as u64, "images");
    for file in &files {
        let frame = frames::load(file)?;
        let context = || format!("cannot evaluate {}", file.display());
        let latents = latents::compress(emulator, &frame).with_context(context)?;
        for rate in &mut rates {
            let figures =
                measure_one(&frame, &latents, rate.bits, decoder).with_context(context)?;
            rate.images.push(figures);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(rates)
}

fn measure_one(
    frame: &Frame,
    latents: &LatentFrame,
    bits: u32,
    decoder: &Decoder,
) -> Result<ImageFigures> {
    let received = LatentFrame::decode(latents.prefix(bits)?.encode())?;
    let rebuilt = latents::reconstruct(decoder, &received)?;
    ImageFigures::of(frame, &rebuilt, received.bits_per_pixel())
}
