//! Calls to something that may be slow or fail.

use std::{future::Future, time::Instant};

use prometheus_client::{
    metrics::{family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::{
    buckets::SHORT,
    label::Label,
    metric::{Counters, Metric},
};

/// Calls, told apart by a label: how long each took, and how many failed.
#[derive(Clone, Debug)]
pub struct Calls<L: Label> {
    seconds: Family<L, Histogram, fn() -> Histogram>,
    failures: Counters<L>,
}

impl<L: Label> Metric for Calls<L> {
    /// Registers `NAME_seconds` and `NAME_failures_total`; `calls` names the calls in their help.
    fn register(registry: &mut Registry, name: &str, calls: &str) -> Self {
        let seconds = Family::new_with_constructor((|| Histogram::new(SHORT)) as fn() -> _);
        for label in L::ALL {
            drop(seconds.get_or_create(label));
        }
        let help = format!("Time that {calls} took");
        registry.register_with_unit(name, help, Unit::Seconds, seconds.clone());
        let help = format!("Failures of {calls}");
        Self {
            seconds,
            failures: Metric::register(registry, &format!("{name}_failures"), &help),
        }
    }
}

impl<L: Label> Calls<L> {
    /// As [`Metric::register`].
    pub fn register(registry: &mut Registry, name: &str, calls: &str) -> Self {
        Metric::register(registry, name, calls)
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
