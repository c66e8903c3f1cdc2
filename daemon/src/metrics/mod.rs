//! Prometheus metrics: what every service has, and the few shapes that its own take.
//!
//! Every series is there from the start: labels are enumerations, so what a label may be is known when it is
//! registered. `docs/metrics.md` is the inventory.

mod format;
mod http;
mod process;

use std::{fmt, future::Future, hash::Hash, time::Instant};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

pub use self::{
    format::answer,
    http::{Http, observe},
};
#[doc(hidden)]
pub use prometheus_client::encoding as __encoding;

/// Seconds for what takes from a tenth of a millisecond to some seconds, such as a write to a disk.
pub const SHORT: [f64; 12] = [
    0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0,
];
/// Seconds for what takes from some milliseconds to half a minute, such as work on a frame.
pub const LONG: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];
/// Seconds for what may take hours, such as waiting for a link.
pub const WAIT: [f64; 12] = [
    0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 43_200.0,
];

/// A label whose values are known; [`label!`](crate::label) makes one.
pub trait Label: EncodeLabelSet + Copy + Eq + Hash + fmt::Debug + Send + Sync + 'static {
    /// All values.
    const ALL: &'static [Self];
}

/// Declares a label and its values.
#[macro_export]
macro_rules! label {
    ($(#[$doc:meta])* $visible:vis $name:ident as $key:literal { $($value:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        $visible enum $name { $($value,)+ }

        impl $crate::metrics::Label for $name {
            const ALL: &'static [Self] = &[$(Self::$value,)+];
        }

        impl $crate::metrics::__encoding::EncodeLabelSet for $name {
            fn encode(
                &self,
                encoder: &mut $crate::metrics::__encoding::LabelSetEncoder<'_>,
            ) -> std::fmt::Result {
                let value = match self { $(Self::$value => $text,)+ };
                let label = encoder.encode_label();
                $crate::metrics::__encoding::EncodeLabel::encode(&($key, value), label)
            }
        }
    };
}

/// Counters of one metric, told apart by one label.
pub type Counters<L> = Family<L, Counter>;

/// Calls of some kinds: how long each took, and how many failed.
#[derive(Clone, Debug)]
pub struct Calls<L: Label> {
    seconds: Family<L, Histogram, fn() -> Histogram>,
    failures: Counters<L>,
}

impl<L: Label> Calls<L> {
    /// Registers `NAME_seconds` and `NAME_failures_total`; `what` names the calls in their help.
    pub fn register(registry: &mut Registry, name: &str, what: &str) -> Self {
        let seconds = Family::new_with_constructor((|| Histogram::new(SHORT)) as fn() -> _);
        for label in L::ALL {
            drop(seconds.get_or_create(label));
        }
        let help = format!("Time that {what} took");
        registry.register_with_unit(name, help, Unit::Seconds, seconds.clone());
        let help = format!("Failures of {what}");
        Self {
            seconds,
            failures: counters(registry, &format!("{name}_failures"), &help),
        }
    }

    /// Waits for a call, and counts it.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn time<T, E>(
        &self,
        label: L,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let start = Instant::now();
        let result = call.await;
        let seconds = start.elapsed().as_secs_f64();
        self.seconds.get_or_create(&label).observe(seconds);
        if result.is_err() {
            self.failures.get_or_create(&label).inc();
        }
        result
    }
}

/// A registry with what the operating system knows of this process.
pub fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(process::Process));
    registry
}

/// Registers the version of this binary as `build_info`.
pub fn build(registry: &mut Registry, version: &'static str) {
    let info = Info::new(vec![("version", version)]);
    registry.register("build", "Version of this binary", info);
}

/// Registers a counter; its series is `NAME_total`.
pub fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

/// Registers a counter for each value of a label.
pub fn counters<L: Label>(registry: &mut Registry, name: &str, help: &str) -> Counters<L> {
    let counters = Counters::default();
    for label in L::ALL {
        drop(counters.get_or_create(label));
    }
    registry.register(name, help, counters.clone());
    counters
}

/// Registers a gauge for each value of a label.
pub fn gauges<L: Label>(registry: &mut Registry, name: &str, help: &str) -> Family<L, Gauge> {
    let gauges = Family::default();
    for label in L::ALL {
        drop(gauges.get_or_create(label));
    }
    registry.register(name, help, Family::clone(&gauges));
    gauges
}

/// Registers a gauge.
pub fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

/// Registers a histogram with the upper ends of its buckets.
pub fn histogram(
    registry: &mut Registry,
    name: &str,
    help: &str,
    buckets: impl IntoIterator<Item = f64>,
) -> Histogram {
    let histogram = Histogram::new(buckets);
    registry.register(name, help, histogram.clone());
    histogram
}

/// All series in the OpenMetrics text format; [`answer`] gives them to a scraper.
///
/// # Errors
/// A metric that cannot be written, which a test would have found.
pub fn text(registry: &Registry) -> Result<String, fmt::Error> {
    let mut out = String::new();
    text::encode(&mut out, registry)?;
    Ok(out)
}

/// A gauge raised for as long as this lives.
#[derive(Debug)]
#[must_use = "the gauge falls when this is dropped"]
pub struct Raised(Gauge);

impl Raised {
    /// Raises a gauge by one.
    pub fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        self.0.dec();
    }
}
