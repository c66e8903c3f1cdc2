//! Reconstruction quality and bytes over the frames of a video, each coded with the frame before as its reference.

use std::path::Path;
use std::sync::Arc;

use ::latent::prior::Prior;
use anyhow::{Context, Result, ensure};
use nqe::Emulator;
use purenet::Decoder;
use serde::Serialize;

use super::rate::{Carried, Rate};
use super::video::{Choice, Video};
use super::wire::{Load, Stream, kbit_s, message_bytes};
use crate::frames::file_name;
use crate::{latents, terminal};

/// The table of references holds the frame before, however large.
const TABLE_BYTES: usize = usize::MAX;

/// The frames that were taken.
#[derive(Serialize)]
pub(super) struct VideoFacts {
    name: String,
    /// Frames a second that were taken.
    pub(super) fps: f64,
    /// Number of these frames.
    pub(super) frames: usize,
    /// The filter with which ffmpeg passes them.
    filter: String,
}

/// A rate, and the bytes of its frames' messages.
struct Lane {
    rate: Rate,
    alone: Stream,
    /// [`Load::kbit_s`], [`Load::intra_kbit_s`] and [`Load::plain_kbit_s`] in bytes of all frames.
    bytes: [usize; 3],
    /// Bits of the latents, and those that travel with each frame coded alone.
    latent_bits: u64,
    intra_bits: u64,
}

/// Encodes each of the frames once, carries each rate of `decoder` over a stream of its own, decodes it and compares;
/// rates increase.
pub(super) fn measure(
    path: &Path,
    (choice, fps): (&Choice, f64),
    emulator: &Emulator,
    decoder: &Decoder,
    prior: Option<&Arc<Prior>>,
) -> Result<(VideoFacts, Vec<Rate>)> {
    let filter = choice.filter();
    let mut video = Video::open(path, &[], &filter)?;
    let rates = decoder.rates().iter();
    let mut lanes: Vec<Lane> = rates.map(|&bits| Lane::new(bits, prior)).collect();
    let counter = terminal::counter("video");
    let mut frames = 0;
    while let Some(mut frame) = video.next()? {
        frame.name = choice.number(frames).to_string();
        let context = || format!("cannot evaluate frame {} of {}", frame.name, path.display());
        let latents = latents::compress(emulator, &frame).with_context(context)?;
        for lane in &mut lanes {
            let carried = lane.rate.measure(&frame, &latents, decoder);
            let carried = carried.and_then(|carried| lane.count(&carried));
            carried.with_context(context)?;
        }
        frames += 1;
        counter.inc(1);
    }
    video.end()?;
    counter.finish_and_clear();
    let expected = choice.count().unwrap_or(frames).max(1);
    ensure!(
        frames == expected,
        "{} has only {frames} of the {expected} frames to take",
        path.display()
    );
    let seconds = frames as f64 / fps;
    let facts = VideoFacts {
        name: file_name(path),
        fps,
        frames,
        filter,
    };
    let lanes = lanes.into_iter().map(|lane| lane.finish(seconds));
    Ok((facts, lanes.collect()))
}

impl Lane {
    fn new(bits: u32, prior: Option<&Arc<Prior>>) -> Self {
        Self {
            rate: Rate::new(bits, prior, TABLE_BYTES),
            alone: Stream::new(prior, 0),
            bytes: [0; 3],
            latent_bits: 0,
            intra_bits: 0,
        }
    }

    /// Adds a frame's messages.
    fn count(&mut self, Carried { latents, bytes }: &Carried) -> Result<()> {
        let (alone, _) = self.alone.carry(latents)?;
        self.latent_bits += latents.total_bits();
        self.intra_bits += 8 * alone.len() as u64;
        let travels = [bytes.clone(), alone, latents.encode()];
        for (sum, bytes) in self.bytes.iter_mut().zip(travels) {
            *sum += message_bytes(latents, bytes);
        }
        Ok(())
    }

    fn finish(mut self, seconds: f64) -> Rate {
        let [kbit_s, intra_kbit_s, plain_kbit_s] =
            self.bytes.map(|bytes| kbit_s(bytes as u64, seconds));
        self.rate.load = Some(Load {
            kbit_s,
            intra_kbit_s,
            plain_kbit_s,
            intra_wire_bits_per_latent_bit: self.intra_bits as f64 / self.latent_bits as f64,
        });
        self.rate
    }
}
