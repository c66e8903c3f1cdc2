//! Prometheus metrics of a node.

use daemon::metrics::{Calls, Counters, LONG, WAIT};
use prometheus_client::metrics::{
    counter::Counter, family::Family, gauge::Gauge, histogram::Histogram,
};
use uplink::Travelled;

use crate::{config::Config, task::Task};

daemon::metrics! {
    /// All metrics of a node. Clones share the same values.
    pub Metrics as "edge_node" {
        accepted: Counters<Task> = "frames_accepted", "Frames accepted";
        refused: Counters<Refusal> = "frames_refused", "Frames not accepted";
        bodies: Gauge = "bodies_in_flight", "Bodies of frames that are being read";
        in_flight: Gauge = "frames_in_flight", "Frames being handled";
        in_flight_max: Gauge = "frames_in_flight_max", "Most frames handled at once";
        encode_wait_seconds: Histogram = "encode_wait_seconds",
            "Time that frames waited for a thread of the encoder", LONG;
        encode_seconds: Histogram = "encode_seconds", "Time that encoding one frame took", LONG;
        encode_busy: Gauge = "encode_busy", "Frames that have a thread of the encoder";
        encode_threads: Gauge = "encode_threads", "Threads of the encoder";
        sources: Gauge = "sources", "Sources that frames are fetched from";
        sources_up: Gauge = "sources_up", "Folders that are watched and streams that run";
        source_frames: Counters<SourceOutcome> = "source_frames", "Frames of sources";
        source_failures: Counter = "source_failures", "Times that a source did not start or broke";
        programs: Gauge = "programs", "Programs that are loaded";
        program_switches: Counter = "program_switches",
            "Times that other programs were loaded while the node ran";
        encode_failures: Counter = "encode_failures", "Frames that the encoder failed on";
        unauthorized: Counter = "unauthorized", "Requests without the right token";
        certificates: Family<CertificateOf, Gauge> = "certificate_expires_timestamp_seconds",
            "When a certificate expires, in seconds since the Unix epoch; 0 without one";
        rate_bits: Gauge = "rate_bits", "Bits per patch of the newest frame";
        latent_bits: Counter = "latent_bits", "Bits of latents made";
        originals_skipped: Counter = "originals_skipped",
            "Originals too large to travel, or beyond the budget of their bytes";
        spool: Calls<SpoolCall> = "spool", "calls of the spool";
        spool_frames: Gauge = "spool_frames", "Frames in the spool";
        spool_bytes: Gauge = "spool_bytes", "Bytes of the frames in the spool";
        spool_held: Gauge = "spool_held_frames",
            "Frames in the spool that are larger than the cloud takes";
        spool_max_bytes: Gauge = "spool_max_bytes", "Most bytes of the spool's file";
        spool_oldest_age_seconds: Gauge = "spool_oldest_age_seconds",
            "Age of the oldest frame in the spool, 0 when it is empty";
        dropped: Counters<DropCause> = "spool_dropped", "Frames that left undelivered";
        sent: Counter = "uplink_frames_sent", "Frames sent, resends included";
        sent_bytes: Counter = "uplink_sent_bytes", "Bytes of the frames sent";
        sent_latent_bytes: Counters<TravelledAs> = "uplink_sent_latent_bytes",
            "Bytes of the latents sent, as they travelled";
        sent_container_bytes: Counters<TravelledAs> = "uplink_sent_container_bytes",
            "Bytes of the containers of the latents sent, which is what they would be without the codec";
        unacked: Gauge = "uplink_unacked_frames", "Frames sent whose ack has not come";
        window: Gauge = "uplink_window_frames",
            "Most frames without an ack on the open stream, 0 without one";
        ack_seconds: Histogram = "uplink_ack_seconds", "Time from sending a frame to its ack", WAIT;
        acks: Counters<AckKind> = "uplink_acks", "Acks received";
        connected: Gauge = "uplink_connected", "Whether the stream to the cloud is open";
        drained: Counter = "uplink_drained",
            "Streams that ended because the cloud asked for it or other programs were loaded";
        connects: Counter = "uplink_connects", "Attempts to open the stream";
        failures: Counter = "uplink_failures", "Streams that did not start or broke";
        last_ack_age_seconds: Gauge = "uplink_last_ack_age_seconds",
            "Time since the last ack, -1 before the first";
    }
}

daemon::label! {
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

daemon::label! {
    /// The use of a certificate.
    pub CertificateOf as "of" {
        Http = "http",
        Uplink = "uplink",
    }
}

daemon::label! {
    /// Result of a frame of a source.
    pub SourceOutcome as "outcome" {
        Taken = "taken",
        Skipped = "skipped",
        Refused = "refused",
    }
}

daemon::label! {
    /// An operation of the spool.
    pub SpoolCall as "operation" {
        Push = "push",
        Read = "read",
        Settle = "settle",
    }
}

daemon::label! {
    /// Why a frame left the spool undelivered.
    pub DropCause as "cause" {
        Full = "full",
        Expired = "expired",
        Corrupt = "corrupt",
        Rejected = "rejected",
    }
}

daemon::label! {
    /// How a frame's latents travelled: as a container, coded alone, or coded with a reference.
    pub TravelledAs as "travelled" {
        Plain = "plain",
        Intra = "intra",
        Reference = "reference",
    }
}

impl From<Travelled> for TravelledAs {
    fn from(travelled: Travelled) -> Self {
        match travelled {
            Travelled::Plain => Self::Plain,
            Travelled::Intra => Self::Intra,
            Travelled::Reference => Self::Reference,
        }
    }
}

daemon::label! {
    /// The cloud's answer to a frame.
    pub AckKind as "status" {
        Accepted = "accepted",
        Duplicate = "duplicate",
        Rejected = "rejected",
    }
}

impl Metrics {
    /// Sets the gauges whose values the configuration gives.
    pub(crate) fn set_bounds(&self, config: &Config, threads: usize) {
        let set = |gauge: &Gauge, bound| gauge.set(i64::try_from(bound).unwrap_or(i64::MAX));
        set(&self.in_flight_max, config.http.max_concurrent as u64);
        set(&self.encode_threads, threads as u64);
        set(&self.sources, config.sources.len() as u64);
        set(&self.spool_max_bytes, config.spool.max_bytes);
    }

    /// Frames that were lost here: they left the spool undelivered, and not because the cloud refused them.
    pub(crate) fn lost(&self) -> u64 {
        [DropCause::Full, DropCause::Expired, DropCause::Corrupt]
            .map(|cause| self.dropped.get_or_create(&cause).get())
            .iter()
            .sum()
    }

    /// Counts frames that left the spool undelivered.
    pub(crate) fn count_dropped(&self, cause: DropCause, frames: u64) {
        self.dropped.get_or_create(&cause).inc_by(frames);
    }
}
