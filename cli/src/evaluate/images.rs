//! Reconstruction quality over a folder of images, at every rate of the decoder.

use std::path::Path;
use std::sync::Arc;

use ::latent::prior::Prior;
use anyhow::{Context, Result};
use nqe::Emulator;
use purenet::Decoder;

use super::rate::Rate;
use crate::{frames, latents, terminal};

/// Encodes each image of `folder` once, carries each rate of `decoder` over a stream, each image alone, decodes it and
/// compares; rates increase.
pub(super) fn measure(
    folder: &Path,
    emulator: &Emulator,
    decoder: &Decoder,
    prior: Option<&Arc<Prior>>,
) -> Result<Vec<Rate>> {
    let files = frames::list(folder)?;
    let rates = decoder.rates().iter();
    let mut rates: Vec<Rate> = rates.map(|&bits| Rate::new(bits, prior, 0)).collect();
    let bar = terminal::bar((files.len() * rates.len()) as u64, "images");
    for file in &files {
        let frame = frames::load(file)?;
        let context = || format!("cannot evaluate {}", file.display());
        let latents = latents::compress(emulator, &frame).with_context(context)?;
        for rate in &mut rates {
            let measured = rate.measure(&frame, &latents, decoder);
            measured.with_context(context)?;
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(rates)
}
