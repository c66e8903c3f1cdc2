//! All metrics of the service.

use std::time::Duration;

use daemon::metrics::{Calls, Counters, LONG, WAIT};
use prometheus_client::metrics::{
    counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, histogram::linear_buckets,
};

use super::labels::{DatabaseCall, Kind, ObjectCall, Outcome, StandingAlarms, TravelledAs};
use crate::{
    alarm::{Alarm, AlarmKind},
    frame,
};

daemon::metrics! {
    /// All metrics of the service. Clones share the same values.
    pub(crate) Metrics as "cloud_decoder" {
        frames: Counters<Outcome> = "frames", "Frames received";
        ingest_bytes: Counter = "ingest_bytes", "Latents and originals stored";
        ingest_seconds: Histogram = "ingest_seconds",
            "Time from a frame's arrival to its ack", LONG;
        ingest_failures: Counter = "ingest_failures", "Frames that could not be stored now";
        ingest_in_flight: Gauge = "ingest_in_flight", "Frames being stored";
        unauthorized: Counter = "unauthorized", "Requests and calls without the right token";
        certificate_expires: Gauge = "tls_certificate_expires_timestamp_seconds",
            "When the certificate of tls.cert expires, in seconds since the Unix epoch; 0 without one";
        uplinks: Gauge = "uplinks", "Open uplink streams";
        latent_bytes: Counters<TravelledAs> = "uplink_latent_bytes",
            "Bytes of the latents of frames, as they travelled";
        container_bytes: Counters<TravelledAs> = "uplink_container_bytes",
            "Bytes of the containers of these latents, which is what they would be without the codec";
        reference_bytes: Gauge = "uplink_reference_bytes",
            "Bytes of earlier latents that frames of the open streams may refer to";
        drained: Counter = "uplinks_drained", "Uplink streams that were asked to reconnect";
        held_back: Counter = "frames_held_back",
            "Frames that waited because their node sends more than its rate";
        watchers: Gauge = "watchers", "Open event streams";
        queued: Gauge = "queued_frames", "Frames waiting for the decoder";
        queue_oldest_age_seconds: Gauge = "queue_oldest_age_seconds",
            "Time since the oldest frame that waits for the decoder arrived, 0 when none waits";
        queue_wait_seconds: Histogram = "queue_wait_seconds",
            "Time from a frame's arrival to its first attempt", WAIT;
        decoded: Counter = "decoded", "Frames reconstructed";
        attempts_failed: Counter = "decode_attempts_failed", "Attempts to decode that failed";
        failed: Counter = "frames_failed", "Frames that failed for good";
        decode_seconds: Histogram = "decode_seconds", "Time to reconstruct a frame", LONG;
        decode_busy: Gauge = "decode_busy", "Decode workers that have a frame";
        decode_workers: Gauge = "decode_workers", "Decode workers";
        measure_seconds: Histogram = "measure_seconds", "Time to measure a frame", LONG;
        psnr_db: Histogram = "psnr_db", "PSNR over RGB in dB", linear_buckets(16.0, 2.0, 16);
        ssim: Histogram = "ssim", "SSIM on luma", SIMILARITY;
        ms_ssim: Histogram = "ms_ssim", "MS-SSIM on luma", SIMILARITY;
        seam_ratio: Histogram = "seam_ratio",
            "Gradient across patch borders, divided by that inside patches", [0.8, 0.9, 1.0, 1.05, 1.1, 1.2, 1.5, 2.0, 4.0];
        latent_ones: Histogram = "latent_ones_ratio",
            "Share of set bits in a frame's latents", linear_buckets(0.1, 0.1, 9);
        removed: Counter = "frames_removed", "Frames removed by retention";
        orphans: Gauge = "orphans",
            "Frames with objects and without rows, as of the last check";
        adopted: Counter = "orphans_adopted",
            "Frames whose missing rows were made";
        damaged: Counter = "objects_damaged", "Objects that were read damaged";
        requeued: Counter = "frames_requeued",
            "Frames queued again, because their pictures were gone or on request";
        stored_bytes: Gauge = "stored_bytes", "Objects of all frames";
        originals_differ: Counter = "originals_unmeasured",
            "Originals that decode to other pixels than at their edge node, and were not measured";
        raised: Counters<Kind> = "alarms_raised", "Alarms raised";
        standing: Family<Kind, Gauge> = "alarms", "Ongoing alarms";
        by_camera: StandingAlarms = "alarm_standing",
            "1 for each ongoing alarm, by camera, the first 200; 0 without a camera";
        objects: Calls<ObjectCall> = "objects", "calls of the object store";
        catalogue: Calls<DatabaseCall> = "catalogue", "calls of the catalogue";
    }
}

impl Metrics {
    /// Counts a frame's latents as they travelled.
    pub(crate) fn travelled(&self, latents: frame::TravelledLatents, container_bytes: u64) {
        let how = latents.how.into();
        let bytes = self.latent_bytes.get_or_create(&how);
        bytes.inc_by(latents.bytes);
        let bytes = self.container_bytes.get_or_create(&how);
        bytes.inc_by(container_bytes);
    }

    /// Counts a frame, and the time from its arrival to its answer.
    pub(crate) fn received(&self, outcome: Outcome, after: Duration) {
        self.frames.get_or_create(&outcome).inc();
        self.ingest_seconds.observe(after.as_secs_f64());
    }

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

    /// Counts an alarm that was raised.
    pub(crate) fn alarm_raised(&self, kind: AlarmKind) {
        self.raised.get_or_create(&kind.into()).inc();
    }

    /// Sets the ongoing alarms.
    pub(crate) fn alarms_standing(&self, alarms: &[Alarm]) {
        for kind in AlarmKind::ALL {
            let count = alarms.iter().filter(|alarm| alarm.kind == kind).count();
            self.standing.get_or_create(&kind.into()).set(count as i64);
        }
        self.by_camera.show(alarms);
    }
}

/// Upper ends of buckets for SSIM and MS-SSIM.
const SIMILARITY: [f64; 10] = [0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 0.99];
