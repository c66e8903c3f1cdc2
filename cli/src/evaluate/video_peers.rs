//! Other codecs' streams of the same frames, made beforehand by `patchwire_training.comparison.video_peers`.
//!
//! PEERS/peers.json lists codecs; PEERS/CODEC-BITS.ENDING is a codec's elementary stream.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::figures::{ImageFigures, MeanFigures};
use super::peer::{self, Named, Peer, PeerVideo, Unit};
use super::video::{Choice, Video};
use super::wire::kbit_s;
use crate::frames::file_name;
use crate::terminal;

/// The filter that passes all frames.
const ALL: &str = "null";

/// A codec at one quality, in peers.json.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    codec: String,
    /// Our rate whose PSNR the codec has.
    bits: u32,
    /// Options of ffmpeg that made the stream.
    options: String,
    ending: Ending,
}

/// Elementary streams.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Ending {
    Mjpeg,
    H264,
}

impl Ending {
    /// In names of files, and ffmpeg's name of the format.
    fn name(self) -> &'static str {
        match self {
            Self::Mjpeg => "mjpeg",
            Self::H264 => "h264",
        }
    }
}

impl Named for Entry {
    fn codec(&self) -> &str {
        &self.codec
    }
}

/// Measures the streams in `peers` against the frames of `video` that are taken; every stream must have all of them.
pub(super) fn measure(
    peers: &Path,
    video: &Path,
    (choice, fps): (&Choice, f64),
) -> Result<Vec<Peer>> {
    let entries: Vec<Entry> = peer::list(peers)?;
    let measured = entries.into_iter().map(|entry| {
        let ending = entry.ending.name();
        let stream = peers.join(format!("{}-{}.{ending}", entry.codec, entry.bits));
        let cannot = || format!("cannot open {}", stream.display());
        let bytes = std::fs::metadata(&stream).with_context(cannot)?.len();
        let images = compare(video, choice, &stream, ending)?;
        let mut mean = MeanFigures::of(&images);
        let seconds = images.len() as f64 / fps;
        let pixels = images
            .iter()
            .map(|i| f64::from(i.width) * f64::from(i.height));
        mean.bpp = Some(8.0 * bytes as f64 / pixels.sum::<f64>());
        Ok(Peer {
            codec: entry.codec,
            unit: Unit::Video,
            bits: entry.bits,
            video: Some(PeerVideo {
                options: entry.options,
                kbit_s: kbit_s(bytes, seconds),
            }),
            mean,
        })
    });
    measured.collect()
}

/// Figures of each frame of `stream`, which is of ffmpeg's format `format`: a stream without a container does not
/// always tell.
fn compare(
    video: &Path,
    choice: &Choice,
    stream: &Path,
    format: &str,
) -> Result<Vec<ImageFigures>> {
    let mut originals = Video::open(video, &[], &choice.filter())?;
    let mut rebuilt = Video::open(stream, &["-f", format], ALL)?;
    let mut images = Vec::new();
    let counter = terminal::counter("peers");
    let other = || {
        format!(
            "{} has other frames than are taken of {}",
            stream.display(),
            file_name(video)
        )
    };
    loop {
        let (original, rebuilt) = match (originals.next()?, rebuilt.next()?) {
            (Some(original), Some(rebuilt)) => (original, rebuilt),
            (None, None) => break,
            _ => anyhow::bail!(other()),
        };
        let size = (rebuilt.width, rebuilt.height);
        ensure!(size == (original.width, original.height), other());
        images.push(ImageFigures::of(&original, &rebuilt.rgb, 0.0, None)?);
        counter.inc(1);
    }
    originals.end()?;
    rebuilt.end()?;
    counter.finish_and_clear();
    Ok(images)
}
