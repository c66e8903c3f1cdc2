//! Frames at one of the decoder's rates: carried over a stream, decoded and compared.

use std::sync::Arc;

use ::latent::{LatentFrame, prior::Prior};
use anyhow::Result;
use bytes::Bytes;
use purenet::Decoder;

use super::figures::ImageFigures;
use super::wire::{Load, Stream, Wire};
use crate::frames::Frame;
use crate::latents::reconstruct;

/// One of the decoder's rates, and the figures of frames at it.
pub(super) struct Rate {
    /// Bits per patch.
    pub(super) bits: u32,
    pub(super) images: Vec<ImageFigures>,
    pub(super) stream: Stream,
    /// Of a video.
    pub(super) load: Option<Load>,
}

/// A frame's latents at a rate, and the bytes in which they travelled.
pub(super) struct Carried {
    pub(super) latents: LatentFrame,
    pub(super) bytes: Bytes,
}

impl Rate {
    /// A rate without frames. `table_bytes` as [`Stream::new`] takes them.
    pub(super) fn new(bits: u32, prior: Option<&Arc<Prior>>, table_bytes: usize) -> Self {
        Self {
            bits,
            images: Vec::new(),
            stream: Stream::new(prior, table_bytes),
            load: None,
        }
    }

    /// Carries the first bits of a frame's latents over the stream, and keeps the figures of the picture that `decoder`
    /// makes of them.
    pub(super) fn measure(
        &mut self,
        frame: &Frame,
        latents: &LatentFrame,
        decoder: &Decoder,
    ) -> Result<Carried> {
        let (bytes, latents) = self.stream.carry(&latents.prefix(self.bits)?)?;
        let rebuilt = reconstruct(decoder, &latents)?;
        let wire = Wire::of(&latents, bytes.len());
        let bpp = latents.bits_per_pixel();
        let figures = ImageFigures::of(frame, &rebuilt, bpp, Some(wire))?;
        self.images.push(figures);
        Ok(Carried { latents, bytes })
    }
}
