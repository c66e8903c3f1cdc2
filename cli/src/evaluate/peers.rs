//! Other codecs' pictures of the same images, made beforehand by `patchwire_training.comparison.peers`.
//!
//! PEERS/peers.json lists codecs and the bytes of each image; PEERS/CODEC-BITS/STEM.png is what the codec makes
//! of an image.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::figures::{ImageFigures, MeanFigures};
use super::peer::{self, Named, Peer, Unit};
use crate::frames::{self, Frame, file_name};
use crate::terminal;

/// A codec at one rate, in peers.json.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    codec: String,
    unit: Unit,
    bits: u32,
    /// Bytes by file name of the image.
    images: BTreeMap<String, u64>,
}

impl Named for Entry {
    fn codec(&self) -> &str {
        &self.codec
    }
}

/// Measures the pictures in `peers` against the images of `folder`; every codec must have every image.
pub(super) fn measure(peers: &Path, folder: &Path) -> Result<Vec<Peer>> {
    let entries: Vec<Entry> = peer::list(peers)?;
    let files = frames::list(folder)?;
    let mut images: Vec<Vec<ImageFigures>> = entries.iter().map(|_| Vec::new()).collect();
    let bar = terminal::bar((files.len() * entries.len()) as u64, "peers");
    for file in &files {
        let frame = frames::load(file)?;
        for (entry, images) in entries.iter().zip(&mut images) {
            images.push(measure_one(peers, entry, file, &frame)?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(entries
        .into_iter()
        .zip(&images)
        .map(|(entry, images)| Peer {
            codec: entry.codec,
            unit: entry.unit,
            bits: entry.bits,
            video: None,
            mean: MeanFigures::of(images),
        })
        .collect())
}

fn measure_one(peers: &Path, entry: &Entry, file: &Path, frame: &Frame) -> Result<ImageFigures> {
    let name = format!("{}-{}", entry.codec, entry.bits);
    let bytes = entry.images.get(&frame.name).with_context(|| {
        format!(
            "{} has no bytes of {} for {name}",
            peers.join("peers.json").display(),
            frame.name
        )
    })?;
    let stem = file.file_stem().unwrap_or_default();
    let mut picture = peers.join(name).join(stem).into_os_string();
    picture.push(".png");
    let rebuilt = frames::load(picture.as_ref())?;
    ensure!(
        (rebuilt.width, rebuilt.height) == (frame.width, frame.height),
        "{} is {}x{} pixels, and {} is {}x{}",
        Path::new(&picture).display(),
        rebuilt.width,
        rebuilt.height,
        file_name(file),
        frame.width,
        frame.height
    );
    let bpp = 8.0 * *bytes as f64 / (f64::from(frame.width) * f64::from(frame.height));
    ImageFigures::of(frame, &rebuilt.rgb, bpp, None)
}
