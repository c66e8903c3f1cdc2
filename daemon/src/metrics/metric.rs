//! Metrics that register themselves.

use std::fmt;

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

use super::{label::Label, process::Process};

/// A metric that registers itself under a name and a help text.
pub trait Metric {
    /// Registers the metric, with all its series.
    fn register(registry: &mut Registry, name: &str, help: &str) -> Self;
}

/// Counters of one metric, told apart by a label.
pub type Counters<L> = Family<L, Counter>;

impl Metric for Counter {
    fn register(registry: &mut Registry, name: &str, help: &str) -> Self {
        let counter = Self::default();
        registry.register(name, help, counter.clone());
        counter
    }
}

impl Metric for Gauge {
    fn register(registry: &mut Registry, name: &str, help: &str) -> Self {
        let gauge = Self::default();
        registry.register(name, help, gauge.clone());
        gauge
    }
}

impl<L: Label> Metric for Family<L, Counter> {
    fn register(registry: &mut Registry, name: &str, help: &str) -> Self {
        let counters = Self::default();
        for label in L::ALL {
            drop(counters.get_or_create(label));
        }
        registry.register(name, help, counters.clone());
        counters
    }
}

impl<L: Label> Metric for Family<L, Gauge> {
    fn register(registry: &mut Registry, name: &str, help: &str) -> Self {
        let gauges = Self::default();
        for label in L::ALL {
            drop(gauges.get_or_create(label));
        }
        registry.register(name, help, gauges.clone());
        gauges
    }
}

/// Registers a histogram with the upper bounds of its buckets.
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

/// A registry with the operating system's figures of this process.
pub fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Process));
    registry
}

/// Registers the version of this binary as `build_info`.
pub fn build(registry: &mut Registry, version: &'static str) {
    let info = Info::new(vec![("version", version)]);
    registry.register("build", "Version of this binary", info);
}

/// All series in the OpenMetrics text format; [`answer`](super::answer) gives them to a scraper.
///
/// # Errors
/// A metric that cannot be written.
pub fn text(registry: &Registry) -> Result<String, fmt::Error> {
    let mut out = String::new();
    encode(&mut out, registry)?;
    Ok(out)
}

/// A gauge that is raised by one for as long as this lives.
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
