//! Prometheus metrics of a node. Every series is registered, and so visible, from the start.

use std::{fmt, sync::Arc};

use daemon::{
    label,
    metrics::{
        Calls, Counters, Http, LONG, WAIT, build, counter, counters, gauge, gauges, histogram,
        registry, text,
    },
};
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::{config::Config, http::routes};

/// All metrics of a node. Clones share the same values.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// HTTP requests.
    pub http: Http,
    /// Frames accepted, by task.
    pub accepted: Counters<TaskKind>,
    /// Frames not accepted, by reason.
    pub refused: Counters<Refusal>,
    /// Bodies of frames that are being read.
    pub bodies: Gauge,
    /// Frames being handled.
    pub in_flight: Gauge,
    /// Most of them at once.
    in_flight_max: Gauge,
    /// Seconds that frames waited for a thread of the encoder.
    pub encode_wait_seconds: Histogram,
    /// Seconds that encoding one frame took.
    pub encode_seconds: Histogram,
    /// Threads of the encoder at work on a frame of their own.
    pub encode_busy: Gauge,
    /// All its threads.
    encode_threads: Gauge,
    /// Sources that the node fetches from.
    sources: Gauge,
    /// Of these, folders that are watched and streams that run.
    pub sources_up: Gauge,
    /// What became of their frames.
    pub source_frames: Counters<SourceOutcome>,
    /// Times that a source did not start or broke.
    pub source_failures: Counter,
    /// Programs that are loaded.
    pub programs: Gauge,
    /// Times that other programs were loaded while the node ran.
    pub program_switches: Counter,
    /// Frames that the encoder failed on.
    pub encode_failures: Counter,
    /// Requests without the right token.
    pub unauthorized: Counter,
    /// When certificates expire.
    pub certificates: Family<CertificateOf, Gauge>,
    /// Bits a patch of the newest frame.
    pub rate_bits: Gauge,
    /// Bits of latents made.
    pub latent_bits: Counter,
    /// Originals too large to travel.
    pub originals_skipped: Counter,
    /// Calls of the spool.
    pub spool: Calls<SpoolCall>,
    /// Frames in the spool.
    pub spool_frames: Gauge,
    /// Bytes of the frames in the spool.
    pub spool_bytes: Gauge,
    /// Frames in the spool that are larger than the cloud takes.
    pub spool_held: Gauge,
    /// Most bytes of the spool's file.
    spool_max_bytes: Gauge,
    /// Age of the oldest frame in the spool in seconds, set when the metrics are read.
    pub spool_oldest_age_seconds: Gauge,
    /// Frames that left the spool undelivered, by cause.
    pub dropped: Counters<DropCause>,
    /// Frames sent, resends included.
    pub sent: Counter,
    /// Bytes of their messages.
    pub sent_bytes: Counter,
    /// Frames sent whose ack has not come.
    pub unacked: Gauge,
    /// Most of them on the open stream.
    pub window: Gauge,
    /// Seconds from sending a frame to its ack.
    pub ack_seconds: Histogram,
    /// Acks received, by status.
    pub acks: Counters<AckKind>,
    /// Whether the cloud has welcomed this node and the stream stands: 0 or 1.
    pub connected: Gauge,
    /// Attempts to open the stream.
    pub connects: Counter,
    /// Streams that did not start or broke.
    pub failures: Counter,
    /// Streams that ended because the cloud asked for it or other programs were loaded.
    pub drained: Counter,
    /// Seconds since the last ack, set when the metrics are read; -1 before the first.
    pub last_ack_age_seconds: Gauge,
}

label! {
    /// What a camera asked for.
    pub TaskKind as "task" {
        Compress = "compress",
        Classify = "classify",
        Both = "both",
    }
}

label! {
    /// Why a frame was not accepted.
    pub Refusal as "reason" {
        BadRequest = "bad_request",
        TooLarge = "too_large",
        UnsupportedType = "unsupported_type",
        Timeout = "timeout",
        Overloaded = "overloaded",
        CameraRate = "camera_rate",
        SpoolBusy = "spool_busy",
        SpoolFull = "spool_full",
        Internal = "internal",
    }
}

label! {
    /// Whose certificate.
    pub CertificateOf as "of" {
        Http = "http",
        Uplink = "uplink",
    }
}

label! {
    /// What became of a source's frame.
    pub SourceOutcome as "outcome" {
        Taken = "taken",
        Skipped = "skipped",
        Refused = "refused",
    }
}

label! {
    /// What the spool was asked for.
    pub SpoolCall as "operation" {
        Push = "push",
        Read = "read",
        Settle = "settle",
    }
}

label! {
    /// Why a frame left the spool undelivered.
    pub DropCause as "cause" {
        Full = "full",
        Expired = "expired",
        Corrupt = "corrupt",
        Rejected = "rejected",
    }
}

label! {
    /// The cloud's verdict on a frame.
    pub AckKind as "status" {
        Accepted = "accepted",
        Duplicate = "duplicate",
        Rejected = "rejected",
    }
}

impl Metrics {
    /// Registers everything.
    pub fn new() -> Self {
        let mut registry = registry();
        let r = registry.sub_registry_with_prefix("edge_node");
        build(r, env!("CARGO_PKG_VERSION"));
        Self {
            http: Http::register(r, routes()),
            accepted: counters(r, "frames_accepted", "Frames accepted"),
            refused: counters(r, "frames_refused", "Frames not accepted"),
            bodies: gauge(
                r,
                "bodies_in_flight",
                "Bodies of frames that are being read",
            ),
            in_flight: gauge(r, "frames_in_flight", "Frames being handled"),
            in_flight_max: gauge(r, "frames_in_flight_max", "Most frames handled at once"),
            encode_wait_seconds: histogram(
                r,
                "encode_wait_seconds",
                "Time that frames waited for a thread of the encoder",
                LONG,
            ),
            encode_seconds: histogram(
                r,
                "encode_seconds",
                "Time that encoding one frame took",
                LONG,
            ),
            encode_busy: gauge(r, "encode_busy", "Frames that have a thread of the encoder"),
            encode_threads: gauge(r, "encode_threads", "Threads of the encoder"),
            sources: gauge(r, "sources", "Sources that frames are fetched from"),
            sources_up: gauge(
                r,
                "sources_up",
                "Folders that are watched and streams that run",
            ),
            source_frames: counters(r, "source_frames", "Frames of sources"),
            source_failures: counter(
                r,
                "source_failures",
                "Times that a source did not start or broke",
            ),
            programs: gauge(r, "programs", "Programs that are loaded"),
            program_switches: counter(
                r,
                "program_switches",
                "Times that other programs were loaded while the node ran",
            ),
            encode_failures: counter(r, "encode_failures", "Frames that the encoder failed on"),
            unauthorized: counter(r, "unauthorized", "Requests without the right token"),
            certificates: gauges(
                r,
                "certificate_expires_timestamp_seconds",
                "When a certificate expires, in seconds since the Unix epoch; 0 without one",
            ),
            rate_bits: gauge(r, "rate_bits", "Bits a patch of the newest frame"),
            latent_bits: counter(r, "latent_bits", "Bits of latents made"),
            originals_skipped: counter(
                r,
                "originals_skipped",
                "Originals too large to travel, or beyond the budget of their bytes",
            ),
            spool: Calls::register(r, "spool", "calls of the spool"),
            spool_frames: gauge(r, "spool_frames", "Frames in the spool"),
            spool_bytes: gauge(r, "spool_bytes", "Bytes of the frames in the spool"),
            spool_held: gauge(
                r,
                "spool_held_frames",
                "Frames in the spool that are larger than the cloud takes",
            ),
            spool_max_bytes: gauge(r, "spool_max_bytes", "Most bytes of the spool's file"),
            spool_oldest_age_seconds: gauge(
                r,
                "spool_oldest_age_seconds",
                "Age of the oldest frame in the spool, 0 when it is empty",
            ),
            dropped: counters(r, "spool_dropped", "Frames that left undelivered"),
            sent: counter(r, "uplink_frames_sent", "Frames sent, resends included"),
            sent_bytes: counter(r, "uplink_sent_bytes", "Bytes of the frames sent"),
            unacked: gauge(
                r,
                "uplink_unacked_frames",
                "Frames sent whose ack has not come",
            ),
            window: gauge(
                r,
                "uplink_window_frames",
                "Most frames without an ack on the open stream, 0 without one",
            ),
            ack_seconds: histogram(
                r,
                "uplink_ack_seconds",
                "Time from sending a frame to its ack",
                WAIT,
            ),
            acks: counters(r, "uplink_acks", "Acks received"),
            connected: gauge(
                r,
                "uplink_connected",
                "Whether the stream to the cloud stands",
            ),
            drained: counter(
                r,
                "uplink_drained",
                "Streams that ended because the cloud asked for it or other programs were loaded",
            ),
            connects: counter(r, "uplink_connects", "Attempts to open the stream"),
            failures: counter(r, "uplink_failures", "Streams that did not start or broke"),
            last_ack_age_seconds: gauge(
                r,
                "uplink_last_ack_age_seconds",
                "Time since the last ack, -1 before the first",
            ),
            registry: Arc::new(registry),
        }
    }

    /// Sets the bounds that a configuration tells.
    pub(crate) fn bounds(&self, config: &Config, threads: usize) {
        let set = |gauge: &Gauge, bound| gauge.set(i64::try_from(bound).unwrap_or(i64::MAX));
        set(&self.in_flight_max, config.http.max_concurrent as u64);
        set(&self.encode_threads, threads as u64);
        set(&self.sources, config.sources.len() as u64);
        set(&self.spool_max_bytes, config.spool.max_bytes);
    }

    /// All series in the OpenMetrics text format.
    ///
    /// # Errors
    /// A metric that cannot be written.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        text(&self.registry)
    }

    /// Frames that were lost here: left the spool undelivered, and not because the cloud refused them.
    pub fn lost(&self) -> u64 {
        [DropCause::Full, DropCause::Expired, DropCause::Corrupt]
            .map(|cause| self.dropped.get_or_create(&cause).get())
            .iter()
            .sum()
    }

    /// Counts a frame that left the spool undelivered.
    pub fn count_dropped(&self, cause: DropCause, frames: u64) {
        self.dropped.get_or_create(&cause).inc_by(frames);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
