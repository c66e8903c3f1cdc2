//! Prometheus metrics, all registered at start, none labelled by frame, and by camera only alarms that stand.

use std::{fmt, time::Duration};

use daemon::{
    label,
    metrics::{
        Calls, Counters, Http, LONG, WAIT, build, counter, counters, gauge, gauges, histogram,
        registry, text,
    },
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter, family::Family, gauge::Gauge, histogram::Histogram,
        histogram::linear_buckets,
    },
    registry::Registry,
};

use crate::{
    alarm::{Alarm, AlarmKind},
    frame::Quality,
};

label! {
    /// What became of a frame that a node sent.
    pub(crate) Outcome as "outcome" {
        Accepted = "accepted",
        Duplicate = "duplicate",
        Rejected = "rejected",
    }
}

label! {
    /// What was asked of the objects.
    pub(crate) ObjectCall as "operation" {
        Put = "put",
        Get = "get",
        Stat = "stat",
        Delete = "delete",
    }
}

label! {
    /// How the catalogue was used. One connection writes, so that writes wait for each other.
    pub(crate) Access as "access" {
        Read = "read",
        Write = "write",
    }
}

label! {
    /// Kinds of alarms.
    pub(crate) Kind as "kind" {
        Drift = "drift",
        Silent = "silent",
    }
}

impl From<AlarmKind> for Kind {
    fn from(kind: AlarmKind) -> Self {
        match kind {
            AlarmKind::Drift => Self::Drift,
            AlarmKind::Silent => Self::Silent,
        }
    }
}

/// An alarm that stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Standing {
    kind: &'static str,
    camera: String,
}

/// Most alarms that are told by camera; all are counted.
const MAX_TOLD: usize = 200;

pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) http: Http,
    frames: Counters<Outcome>,
    ingest_bytes: Counter,
    ingest_seconds: Histogram,
    pub(crate) ingest_failures: Counter,
    pub(crate) ingest_in_flight: Gauge,
    pub(crate) unauthorized: Counter,
    pub(crate) certificate_expires: Gauge,
    pub(crate) uplinks: Gauge,
    pub(crate) drained: Counter,
    pub(crate) held_back: Counter,
    pub(crate) watchers: Gauge,
    pub(crate) queued: Gauge,
    pub(crate) queue_oldest_age_seconds: Gauge,
    pub(crate) queue_wait_seconds: Histogram,
    pub(crate) decoded: Counter,
    pub(crate) attempts_failed: Counter,
    pub(crate) failed: Counter,
    pub(crate) decode_seconds: Histogram,
    pub(crate) decode_busy: Gauge,
    decode_workers: Gauge,
    pub(crate) measure_seconds: Histogram,
    psnr_db: Histogram,
    ssim: Histogram,
    ms_ssim: Histogram,
    seam_ratio: Histogram,
    latent_ones: Histogram,
    pub(crate) removed: Counter,
    pub(crate) orphans: Gauge,
    pub(crate) adopted: Counter,
    pub(crate) damaged: Counter,
    pub(crate) requeued: Counter,
    pub(crate) stored_bytes: Gauge,
    pub(crate) originals_differ: Counter,
    raised: Counters<Kind>,
    standing: Family<Kind, Gauge>,
    by_camera: Family<Standing, Gauge>,
    pub(crate) objects: Calls<ObjectCall>,
    pub(crate) catalogue: Calls<Access>,
}

impl Metrics {
    /// The metrics of a service with so many decode workers and these HTTP routes.
    pub(crate) fn new(workers: usize, routes: impl IntoIterator<Item = String>) -> Self {
        let mut registry = registry();
        let r = registry.sub_registry_with_prefix("cloud_decoder");
        build(r, env!("CARGO_PKG_VERSION"));
        let metrics = Self {
            http: Http::register(r, routes.into_iter()),
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
            raised: counters(r, "alarms_raised", "Alarms raised"),
            standing: gauges(r, "alarms", "Alarms that stand"),
            by_camera: {
                let family = Family::default();
                let help =
                    "1 for each alarm that stands, by camera, the first 200; 0 without a camera";
                r.register("alarm_standing", help, family.clone());
                family
            },
            objects: Calls::register(r, "objects", "calls of the object store"),
            catalogue: Calls::register(r, "catalogue", "calls of the catalogue"),
            registry,
        };
        metrics.decode_workers.set(workers as i64);
        metrics.none_by_camera();
        metrics
    }

    /// Counts a frame that was answered so long after it arrived.
    pub(crate) fn received(&self, outcome: Outcome, after: Duration) {
        self.frames.get_or_create(&outcome).inc();
        self.ingest_seconds.observe(after.as_secs_f64());
    }

    /// Counts the bytes of a frame that was stored, and the share of set bits in its latents.
    pub(crate) fn stored(&self, bytes: u64, latent_ones: Option<f64>) {
        self.ingest_bytes.inc_by(bytes);
        if let Some(ones) = latent_ones {
            self.latent_ones.observe(ones);
        }
    }

    pub(crate) fn alarm_raised(&self, kind: AlarmKind) {
        self.raised.get_or_create(&kind.into()).inc();
    }

    /// The series that are there without any alarm.
    fn none_by_camera(&self) {
        for kind in AlarmKind::ALL {
            let labels = Standing {
                kind: kind.name(),
                camera: String::new(),
            };
            drop(self.by_camera.get_or_create(&labels));
        }
    }

    /// Tells which alarms stand now.
    pub(crate) fn alarms_standing(&self, alarms: &[Alarm]) {
        for kind in AlarmKind::ALL {
            let count = alarms.iter().filter(|alarm| alarm.kind == kind).count();
            self.standing.get_or_create(&kind.into()).set(count as i64);
        }
        self.by_camera.clear();
        self.none_by_camera();
        for alarm in alarms.iter().take(MAX_TOLD) {
            let labels = Standing {
                kind: alarm.kind.name(),
                camera: alarm.camera.clone(),
            };
            self.by_camera.get_or_create(&labels).set(1);
        }
    }

    pub(crate) fn measured(&self, quality: &Quality) {
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

    /// The OpenMetrics text.
    pub(crate) fn encode(&self) -> Result<String, fmt::Error> {
        text(&self.registry)
    }
}

/// Upper ends of buckets for SSIM and MS-SSIM.
const SIMILARITY: [f64; 10] = [0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 0.99];
