//! Prometheus metrics. Every series is registered, and so visible, from the start.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::{Registry, Unit},
};

use crate::encode::Task;

/// All metrics of a node. Clones share the same values.
#[derive(Clone)]
pub struct Metrics {
    registry: std::sync::Arc<Registry>,
    /// Frames answered 202, by task.
    pub accepted: Family<TaskLabel, Counter>,
    /// Frames not accepted, by reason.
    pub refused: Family<RefusalLabel, Counter>,
    /// Bits of latents made.
    pub latent_bits: Counter,
    /// Frames being handled.
    pub in_flight: Gauge,
    /// Seconds that encoding one frame took.
    pub encode_seconds: Histogram,
    /// Originals too large to travel.
    pub originals_skipped: Counter,
    /// Frames in the spool.
    pub spool_frames: Gauge,
    /// Bytes of the frames in the spool.
    pub spool_bytes: Gauge,
    /// Frames that left the spool undelivered, by cause.
    pub dropped: Family<DropLabel, Counter>,
    /// Frames sent, resends included.
    pub sent: Counter,
    /// Acks received, by status.
    pub acks: Family<AckLabel, Counter>,
    /// Whether the cloud has welcomed this node and the stream stands: 0 or 1.
    pub connected: Gauge,
    /// Attempts to open the stream.
    pub connects: Counter,
    /// Seconds since the last ack; -1 before the first.
    pub last_ack_age_seconds: Gauge,
}

/// Label of [`Metrics::accepted`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TaskLabel {
    /// What was asked for.
    pub task: Task,
}

/// Label of [`Metrics::refused`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusalLabel {
    /// Why.
    pub reason: Refusal,
}

/// Why a frame was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(missing_docs)]
pub enum Refusal {
    BadRequest,
    TooLarge,
    UnsupportedType,
    Timeout,
    Overloaded,
    SpoolFull,
    Internal,
}

/// Label of [`Metrics::dropped`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DropLabel {
    /// Why.
    pub cause: DropCause,
}

/// Why a frame left the spool undelivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(missing_docs)]
pub enum DropCause {
    Full,
    Expired,
    Corrupt,
    Rejected,
}

/// Label of [`Metrics::acks`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AckLabel {
    /// The cloud's verdict.
    pub status: AckKind,
}

/// The cloud's verdict on a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(missing_docs)]
pub enum AckKind {
    Accepted,
    Duplicate,
    Rejected,
}

impl Metrics {
    /// Registers everything.
    pub fn new() -> Self {
        use {AckKind as A, DropCause as D, Refusal as R};
        let mut registry = Registry::with_prefix("edge_node");
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "Version of this binary", Info::new(version));
        let r = &mut registry;
        let accepted = Family::<TaskLabel, Counter>::default();
        for task in Task::ALL {
            let _series = accepted.get_or_create_owned(&TaskLabel { task });
        }
        let refused = Family::<RefusalLabel, Counter>::default();
        for reason in [
            R::BadRequest,
            R::TooLarge,
            R::UnsupportedType,
            R::Timeout,
            R::Overloaded,
            R::SpoolFull,
            R::Internal,
        ] {
            let _series = refused.get_or_create_owned(&RefusalLabel { reason });
        }
        let dropped = Family::<DropLabel, Counter>::default();
        for cause in [D::Full, D::Expired, D::Corrupt, D::Rejected] {
            let _series = dropped.get_or_create_owned(&DropLabel { cause });
        }
        let acks = Family::<AckLabel, Counter>::default();
        for status in [A::Accepted, A::Duplicate, A::Rejected] {
            let _series = acks.get_or_create_owned(&AckLabel { status });
        }
        r.register("frames_accepted", "Frames answered 202", accepted.clone());
        r.register("frames_refused", "Frames not accepted", refused.clone());
        r.register(
            "spool_dropped",
            "Frames that left the spool undelivered",
            dropped.clone(),
        );
        r.register("uplink_acks", "Acks received", acks.clone());
        let encode_seconds = Histogram::new(exponential_buckets(0.001, 2.0, 14));
        let help = "Time that encoding one frame took";
        r.register_with_unit("encode", help, Unit::Seconds, encode_seconds.clone());
        Self {
            accepted,
            refused,
            dropped,
            acks,
            encode_seconds,
            latent_bits: counter(r, "latent_bits", "Bits of latents made"),
            originals_skipped: counter(r, "originals_skipped", "Originals too large to travel"),
            sent: counter(r, "uplink_frames_sent", "Frames sent, resends included"),
            connects: counter(r, "uplink_connects", "Attempts to open the stream"),
            in_flight: gauge(r, "frames_in_flight", "Frames being handled"),
            spool_frames: gauge(r, "spool_frames", "Frames in the spool"),
            spool_bytes: gauge(r, "spool_bytes", "Bytes of the frames in the spool"),
            connected: gauge(
                r,
                "uplink_connected",
                "Whether the stream to the cloud stands",
            ),
            last_ack_age_seconds: gauge(
                r,
                "uplink_last_ack_age_seconds",
                "Time since the last ack, -1 before the first",
            ),
            registry: std::sync::Arc::new(registry),
        }
    }

    /// All series in the OpenMetrics text format.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }

    /// Counts a frame that left the spool undelivered.
    pub fn count_dropped(&self, cause: DropCause, frames: u64) {
        self.dropped
            .get_or_create(&DropLabel { cause })
            .inc_by(frames);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}
