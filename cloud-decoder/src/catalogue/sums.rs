//! What frames add to the sums of their cameras.

use patchwire_proto::latent::OVERHEAD_BYTES;

use crate::{
    clock::DAY_MS,
    frame::{FrameState, NewFrame, Quality},
};

/// What one frame, or several of one camera, add when they come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    pub(super) frames: i64,
    pub(super) labelled: i64,
    /// Of frames with latents.
    pub(super) pixels: i64,
    pub(super) latent_bits: i64,
    pub(super) bytes: i64,
    /// Bytes as the camera sent them, and bits of latents, of frames that have both.
    pub(super) source_bytes: i64,
    pub(super) sourced_bits: i64,
}

impl Share {
    pub(super) fn of(new: &NewFrame) -> Self {
        let labelled = new.state() == FrameState::Labelled;
        let latent_bits = saturate(new.latent_bits);
        let source_bytes = saturate(new.source_bytes);
        let (source_bytes, sourced_bits) = match latent_bits > 0 && source_bytes > 0 {
            true => (source_bytes, latent_bits),
            false => (0, 0),
        };
        Self {
            frames: 1,
            labelled: labelled.into(),
            pixels: match labelled {
                true => 0,
                false => i64::from(new.width) * i64::from(new.height),
            },
            latent_bits,
            bytes: saturate(new.bytes),
            source_bytes,
            sourced_bits,
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.frames += other.frames;
        self.labelled += other.labelled;
        self.pixels += other.pixels;
        self.latent_bits += other.latent_bits;
        self.bytes += other.bytes;
        self.source_bytes += other.source_bytes;
        self.sourced_bits += other.sourced_bits;
    }
}

/// Bytes that one frame, or several of one node and camera on one day, took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    /// Of arrival, since 1970-01-01 in UTC.
    pub(super) day: i64,
    pub(super) frames: i64,
    /// Whose edge told `source`.
    pub(super) told: i64,
    pub(super) source: i64,
    pub(super) latents: i64,
    pub(super) label: i64,
    pub(super) original: i64,
    pub(super) overhead: i64,
}

impl Sent {
    pub(super) fn of(new: &NewFrame) -> Self {
        let (label, original) = (saturate(new.label_bytes), saturate(new.original_bytes));
        let latents = match new.latent_bits {
            0 => 0,
            bits => saturate(bits / 8 + OVERHEAD_BYTES as u64),
        };
        Self {
            day: new.received_ms / DAY_MS,
            frames: 1,
            told: (new.source_bytes > 0).into(),
            source: saturate(new.source_bytes),
            latents,
            label,
            original,
            overhead: (saturate(new.wire_bytes) - latents - label - original).max(0),
        }
    }

    /// In the order of the table's columns, after the day, the node and the camera.
    pub(super) fn columns(&self) -> [i64; 7] {
        [
            self.frames,
            self.told,
            self.source,
            self.latents,
            self.label,
            self.original,
            self.overhead,
        ]
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.frames += other.frames;
        self.told += other.told;
        self.source += other.source;
        self.latents += other.latents;
        self.label += other.label;
        self.original += other.original;
        self.overhead += other.overhead;
    }
}

/// The PSNR that counts in a camera's mean.
pub(super) fn measured(quality: Quality) -> Option<f64> {
    quality.psnr_db.filter(|psnr| psnr.is_finite())
}

/// Integers of the databases are signed.
pub(super) fn saturate(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
