//! Prometheus metrics. Every series is registered, and so visible, from the start.

use std::{
    fmt::{self, Write as _},
    sync::Arc,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::{Registry, Unit},
};

/// All metrics of a node. Clones share the same values.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// Frames answered 202, by task.
    pub accepted: Counters<TaskLabel>,
    /// Frames not accepted, by reason.
    pub refused: Counters<RefusalLabel>,
    /// Bits a patch of the newest frame.
    pub rate_bits: Gauge,
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
    pub dropped: Counters<DropLabel>,
    /// Frames sent, resends included.
    pub sent: Counter,
    /// Acks received, by status.
    pub acks: Counters<AckLabel>,
    /// Whether the cloud has welcomed this node and the stream stands: 0 or 1.
    pub connected: Gauge,
    /// Attempts to open the stream.
    pub connects: Counter,
    /// Seconds since the last ack; -1 before the first.
    pub last_ack_age_seconds: Gauge,
}

/// Counters of one metric, told apart by one label.
pub type Counters<L> = Family<L, Counter>;

/// Declares a label and its values, all of which are there from the start.
macro_rules! label {
    ($(#[$doc:meta])* $set:ident, $key:ident: $name:ident { $($value:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        pub enum $name { $($value,)+ }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
                encoder.write_str(match self { $(Self::$value => $text,)+ })
            }
        }

        /// The label set of one series.
        #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
        pub struct $set {
            $key: $name,
        }

        impl From<$name> for $set {
            fn from($key: $name) -> Self {
                Self { $key }
            }
        }

        impl $set {
            fn register(registry: &mut Registry, name: &str, help: &str) -> Counters<Self> {
                let counters = Counters::default();
                for value in [$($name::$value,)+] {
                    let _series = counters.get_or_create_owned(&Self::from(value));
                }
                registry.register(name, help, counters.clone());
                counters
            }
        }
    };
}

label! {
    /// What a camera asked for.
    TaskLabel, task: TaskKind {
        Compress = "compress",
        Classify = "classify",
        Both = "both",
    }
}

label! {
    /// Why a frame was not accepted.
    RefusalLabel, reason: Refusal {
        BadRequest = "bad_request",
        TooLarge = "too_large",
        UnsupportedType = "unsupported_type",
        Timeout = "timeout",
        Overloaded = "overloaded",
        SpoolFull = "spool_full",
        Internal = "internal",
    }
}

label! {
    /// Why a frame left the spool undelivered.
    DropLabel, cause: DropCause {
        Full = "full",
        Expired = "expired",
        Corrupt = "corrupt",
        Rejected = "rejected",
    }
}

label! {
    /// The cloud's verdict on a frame.
    AckLabel, status: AckKind {
        Accepted = "accepted",
        Duplicate = "duplicate",
        Rejected = "rejected",
    }
}

impl Metrics {
    /// Registers everything.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("edge_node");
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "Version of this binary", Info::new(version));
        let r = &mut registry;
        let encode_seconds = Histogram::new(exponential_buckets(0.001, 2.0, 14));
        let help = "Time that encoding one frame took";
        r.register_with_unit("encode", help, Unit::Seconds, encode_seconds.clone());
        Self {
            accepted: TaskLabel::register(r, "frames_accepted", "Frames answered 202"),
            refused: RefusalLabel::register(r, "frames_refused", "Frames not accepted"),
            dropped: DropLabel::register(r, "spool_dropped", "Frames that left undelivered"),
            acks: AckLabel::register(r, "uplink_acks", "Acks received"),
            encode_seconds,
            rate_bits: gauge(r, "rate_bits", "Bits a patch of the newest frame"),
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
            registry: Arc::new(registry),
        }
    }

    /// All series in the OpenMetrics text format.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }

    /// Frames that were lost here: left the spool undelivered, and not because the cloud refused them.
    pub fn lost(&self) -> u64 {
        [DropCause::Full, DropCause::Expired, DropCause::Corrupt]
            .map(|cause| self.dropped.get_or_create(&DropLabel { cause }).get())
            .iter()
            .sum()
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
