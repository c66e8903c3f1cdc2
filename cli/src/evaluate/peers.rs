//! Other codecs' pictures of the same images, made beforehand by `patchwire_training.comparison.peers`.
//!
//! PEERS/peers.json lists codecs and the bytes of each image; PEERS/CODEC-BITS/STEM.png is what the codec makes
//! of an image.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::figures::{ImageFigures, MeanFigures};
use crate::frames::{self, Frame, file_name, read_bounded};
use crate::terminal;

/// Most bytes of peers.json: room for some 100,000 pictures.
const MAX_LIST_BYTES: u64 = 8 << 20;
/// Most characters of a codec's name.
const MAX_NAME: usize = 32;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    peers: Vec<Entry>,
}

/// A codec at one rate.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    codec: String,
    unit: Unit,
    bits: u32,
    /// Bytes by file name of the image.
    images: BTreeMap<String, u64>,
}

/// The data that a codec spends its bytes on.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Unit {
    /// A frame as a whole.
    Frame,
    /// Each patch alone, at a constant bitrate.
    Patch,
}

/// A codec at one rate, measured.
#[derive(Serialize)]
pub(super) struct Peer {
    pub(super) codec: String,
    pub(super) unit: Unit,
    /// Budget in bits per patch.
    pub(super) bits: u32,
    #[serde(flatten)]
    pub(super) mean: MeanFigures,
}

/// Measures the pictures in `peers` against the images of `folder`; every codec must have every image.
pub(super) fn measure(peers: &Path, folder: &Path) -> Result<Vec<Peer>> {
    let entries = read(&peers.join("peers.json"))?;
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
            mean: MeanFigures::of(images),
        })
        .collect())
}

fn read(path: &Path) -> Result<Vec<Entry>> {
    let bytes = read_bounded(path, MAX_LIST_BYTES)?;
    let list: List = serde_json::from_slice(&bytes)
        .with_context(|| format!("{} is not a list of peers", path.display()))?;
    for entry in &list.peers {
        // Names are part of a path.
        ensure!(
            (1..=MAX_NAME).contains(&entry.codec.len())
                && entry
                    .codec
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
            "{} names a codec {:?}, and names are 1 to {MAX_NAME} characters of a-z, 0-9 and '-'",
            path.display(),
            entry.codec
        );
    }
    Ok(list.peers)
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
    ImageFigures::of(frame, &rebuilt.rgb, bpp)
}
