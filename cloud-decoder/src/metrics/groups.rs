//! Metrics by the part of the service that they are about.

use std::time::Duration;

use daemon::metrics::{Counters, LONG, WAIT, counter, counters, gauge, histogram};
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram, histogram::linear_buckets},
    registry::Registry,
};

use super::labels::Outcome;
use crate::frame;

/// Frames from edge nodes.
pub(crate) struct Ingest {
    pub(crate) frames: Counters<Outcome>,
    pub(crate) ingest_bytes: Counter,
    pub(crate) ingest_seconds: Histogram,
    pub(crate) ingest_failures: Counter,
    pub(crate) ingest_in_flight: Gauge,
}

impl Ingest {
    pub(super) fn register(r: &mut Registry) -> Self {
        Self {
            frames: counters(r, "frames", "Frames received"),
            ingest_bytes: counter(r, "ingest_bytes", "Latents and originals stored"),
            ingest_seconds: histogram(
                r,
                "ingest_seconds",
                "Time from a frame's arrival to its ack",
                LONG,
            ),
            ingest_failures: counter(r, "ingest_failures", "Frames that could not be stored now"),
            ingest_in_flight: gauge(r, "ingest_in_flight", "Frames being stored"),
        }
    }
}

/// Streams, watchers and callers without the right token.
pub(crate) struct Access {
    pub(crate) unauthorized: Counter,
    pub(crate) certificate_expires: Gauge,
    pub(crate) uplinks: Gauge,
    pub(crate) drained: Counter,
    pub(crate) held_back: Counter,
    pub(crate) watchers: Gauge,
}

impl Access {
    pub(super) fn register(r: &mut Registry) -> Self {
        Self {
            unauthorized: counter(
                r,
                "unauthorized",
                "Requests and calls without the right token",
            ),
            certificate_expires: gauge(
                r,
                "tls_certificate_expires_timestamp_seconds",
                "When the certificate of tls.cert expires, in seconds since the Unix epoch; 0 without one",
            ),
            uplinks: gauge(r, "uplinks", "Open uplink streams"),
            drained: counter(
                r,
                "uplinks_drained",
                "Uplink streams that were asked to come again",
            ),
            held_back: counter(
                r,
                "frames_held_back",
                "Frames that waited because their node sends more than its rate",
            ),
            watchers: gauge(r, "watchers", "Open event streams"),
        }
    }
}

/// The decode queue.
pub(crate) struct Queue {
    pub(crate) queued: Gauge,
    pub(crate) queue_oldest_age_seconds: Gauge,
    pub(crate) queue_wait_seconds: Histogram,
}

impl Queue {
    pub(super) fn register(r: &mut Registry) -> Self {
        Self {
            queued: gauge(r, "queued_frames", "Frames waiting for the decoder"),
            queue_oldest_age_seconds: gauge(
                r,
                "queue_oldest_age_seconds",
                "Time since the oldest frame that waits for the decoder arrived, 0 when none waits",
            ),
            queue_wait_seconds: histogram(
                r,
                "queue_wait_seconds",
                "Time from a frame's arrival to its first attempt",
                WAIT,
            ),
        }
    }
}

/// Decode workers.
pub(crate) struct Decoding {
    pub(crate) decoded: Counter,
    pub(crate) attempts_failed: Counter,
    pub(crate) failed: Counter,
    pub(crate) decode_seconds: Histogram,
    pub(crate) decode_busy: Gauge,
    pub(crate) decode_workers: Gauge,
    pub(crate) measure_seconds: Histogram,
}

impl Decoding {
    pub(super) fn register(r: &mut Registry) -> Self {
        Self {
            decoded: counter(r, "decoded", "Frames reconstructed"),
            attempts_failed: counter(
                r,
                "decode_attempts_failed",
                "Attempts to decode that failed",
            ),
            failed: counter(r, "frames_failed", "Frames given up"),
            decode_seconds: histogram(r, "decode_seconds", "Time to reconstruct a frame", LONG),
            decode_busy: gauge(r, "decode_busy", "Decode workers that have a frame"),
            decode_workers: gauge(r, "decode_workers", "Decode workers"),
            measure_seconds: histogram(r, "measure_seconds", "Time to measure a frame", LONG),
        }
    }
}

/// Measured frames.
pub(crate) struct Quality {
    pub(crate) psnr_db: Histogram,
    pub(crate) ssim: Histogram,
    pub(crate) ms_ssim: Histogram,
    pub(crate) seam_ratio: Histogram,
    pub(crate) latent_ones: Histogram,
}

impl Quality {
    pub(super) fn register(r: &mut Registry) -> Self {
        Self {
            psnr_db: histogram(
                r,
                "psnr_db",
                "PSNR over RGB in dB",
                linear_buckets(16.0, 2.0, 16),
            ),
            ssim: histogram(r, "ssim", "SSIM on luma", SIMILARITY),
            ms_ssim: histogram(r, "ms_ssim", "MS-SSIM on luma", SIMILARITY),
            seam_ratio: histogram(
                r,
                "seam_ratio",
                "Gradient across patch borders over that inside",
                [0.8, 0.9, 1.0, 1.05, 1.1, 1.2, 1.5, 2.0, 4.0],
            ),
            latent_ones: histogram(
                r,
                "latent_ones_ratio",
                "Share of set bits in a frame's latents",
                linear_buckets(0.1, 0.1, 9),
            ),
        }
    }
}

/// Objects, retention and repair.
pub(crate) struct Maintenance {
    pub(crate) removed: Counter,
    pub(crate) orphans: Gauge,
    pub(crate) adopted: Counter,
    pub(crate) damaged: Counter,
    pub(crate) requeued: Counter,
    pub(crate) stored_bytes: Gauge,
    pub(crate) originals_differ: Counter,
}

impl Maintenance {
    pub(super) fn register(r: &mut Registry) -> Self {
        Self {
            removed: counter(r, "frames_removed", "Frames removed by retention"),
            orphans: gauge(
                r,
                "orphans",
                "Frames whose objects are there and whose rows are not, when that was last looked at",
            ),
            adopted: counter(
                r,
                "orphans_adopted",
                "Frames that were stored whole but for their rows, and have them now",
            ),
            damaged: counter(
                r,
                "objects_damaged",
                "Objects that were not read as they were written",
            ),
            requeued: counter(
                r,
                "frames_requeued",
                "Frames decoded again because their pictures were gone, or asked to be",
            ),
            stored_bytes: gauge(r, "stored_bytes", "Objects of all frames"),
            originals_differ: counter(
                r,
                "originals_unmeasured",
                "Originals whose pixels differ here from those at their edge node, so that they measure nothing",
            ),
        }
    }
}

impl Ingest {
    /// Counts a frame that was answered so long after it arrived.
    pub(crate) fn received(&self, outcome: Outcome, after: Duration) {
        self.frames.get_or_create(&outcome).inc();
        self.ingest_seconds.observe(after.as_secs_f64());
    }
}

impl Quality {
    /// Counts the measured quality of a frame.
    pub(crate) fn measured(&self, quality: &frame::Quality) {
        for (histogram, value) in [
            (&self.psnr_db, quality.psnr_db),
            (&self.ssim, quality.ssim),
            (&self.ms_ssim, quality.ms_ssim),
            (&self.seam_ratio, quality.seam_ratio),
        ] {
            // A lossless frame's PSNR is infinite, and would stay so in the sum.
            if let Some(value) = value.filter(|value| value.is_finite()) {
                histogram.observe(value);
            }
        }
    }
}

/// Upper ends of buckets for SSIM and MS-SSIM.
const SIMILARITY: [f64; 10] = [0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 0.99];
