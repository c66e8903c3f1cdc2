//! Prometheus metrics, all registered at start, none labelled by camera or frame.

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets, linear_buckets},
    },
    registry::{Registry, Unit},
};

use crate::frame::Quality;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Accepted,
    Duplicate,
    Rejected,
}

impl Outcome {
    fn labels(self) -> Outcomes {
        let outcome = match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Rejected => "rejected",
        };
        Outcomes { outcome }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Outcomes {
    outcome: &'static str,
}

pub(crate) struct Metrics {
    registry: Registry,
    frames: Family<Outcomes, Counter>,
    pub(crate) ingest_bytes: Counter,
    pub(crate) uplinks: Gauge,
    pub(crate) watchers: Gauge,
    pub(crate) queued: Gauge,
    pub(crate) decoded: Counter,
    pub(crate) attempts_failed: Counter,
    pub(crate) failed: Counter,
    pub(crate) removed: Counter,
    pub(crate) orphans: Counter,
    pub(crate) requeued: Counter,
    pub(crate) stored_bytes: Gauge,
    pub(crate) decode_seconds: Histogram,
    psnr_db: Histogram,
    ms_ssim: Histogram,
    seam_ratio: Histogram,
    pub(crate) latent_ones: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let metrics = Self {
            registry: Registry::with_prefix("cloud_decoder"),
            frames: Family::default(),
            ingest_bytes: Counter::default(),
            uplinks: Gauge::default(),
            watchers: Gauge::default(),
            queued: Gauge::default(),
            decoded: Counter::default(),
            attempts_failed: Counter::default(),
            failed: Counter::default(),
            removed: Counter::default(),
            orphans: Counter::default(),
            requeued: Counter::default(),
            stored_bytes: Gauge::default(),
            decode_seconds: Histogram::new(exponential_buckets(0.01, 2.0, 14)),
            psnr_db: Histogram::new(linear_buckets(16.0, 2.0, 16)),
            ms_ssim: Histogram::new([0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 0.99]),
            seam_ratio: Histogram::new([0.8, 0.9, 1.0, 1.05, 1.1, 1.2, 1.5, 2.0, 4.0]),
            latent_ones: Histogram::new(linear_buckets(0.1, 0.1, 9)),
        };
        for outcome in [Outcome::Accepted, Outcome::Duplicate, Outcome::Rejected] {
            drop(metrics.frames.get_or_create(&outcome.labels()));
        }
        metrics.register()
    }

    fn register(mut self) -> Self {
        let r = &mut self.registry;
        r.register("frames", "Frames received", self.frames.clone());
        r.register_with_unit(
            "ingest",
            "Latents and originals stored",
            Unit::Bytes,
            self.ingest_bytes.clone(),
        );
        r.register("uplinks", "Open uplink streams", self.uplinks.clone());
        r.register("watchers", "Open event streams", self.watchers.clone());
        r.register(
            "queued_frames",
            "Frames waiting for the decoder",
            self.queued.clone(),
        );
        r.register("decoded", "Frames reconstructed", self.decoded.clone());
        r.register(
            "decode_attempts_failed",
            "Attempts to decode that failed",
            self.attempts_failed.clone(),
        );
        r.register("frames_failed", "Frames given up", self.failed.clone());
        r.register(
            "frames_removed",
            "Frames removed by retention",
            self.removed.clone(),
        );
        r.register(
            "orphans_deleted",
            "Objects without a row that were deleted",
            self.orphans.clone(),
        );
        r.register(
            "frames_requeued",
            "Frames decoded again because their pictures were gone, or asked to be",
            self.requeued.clone(),
        );
        r.register_with_unit(
            "stored",
            "Objects of all frames",
            Unit::Bytes,
            self.stored_bytes.clone(),
        );
        r.register_with_unit(
            "decode",
            "Time to reconstruct a frame",
            Unit::Seconds,
            self.decode_seconds.clone(),
        );
        r.register("psnr_db", "PSNR over RGB in dB", self.psnr_db.clone());
        r.register("ms_ssim", "MS-SSIM on luma", self.ms_ssim.clone());
        r.register(
            "seam_ratio",
            "Gradient across patch borders over that inside",
            self.seam_ratio.clone(),
        );
        r.register(
            "latent_ones_ratio",
            "Share of set bits in a frame's latents",
            self.latent_ones.clone(),
        );
        self
    }

    pub(crate) fn received(&self, outcome: Outcome) {
        self.frames.get_or_create(&outcome.labels()).inc();
    }

    pub(crate) fn measured(&self, quality: &Quality) {
        for (histogram, value) in [
            (&self.psnr_db, quality.psnr_db),
            (&self.ms_ssim, quality.ms_ssim),
            (&self.seam_ratio, quality.seam_ratio),
        ] {
            if let Some(value) = value {
                histogram.observe(value);
            }
        }
    }

    /// The OpenMetrics text.
    pub(crate) fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// A gauge raised for as long as this lives.
pub(crate) struct Raised(Gauge);

impl Raised {
    pub(crate) fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        self.0.dec();
    }
}
