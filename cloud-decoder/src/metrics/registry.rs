//! All metrics of the service.

use std::fmt;

use daemon::metrics::{Calls, Http, build, registry, text};
use prometheus_client::registry::Registry;

use super::{
    alarms::Alarms,
    groups::{Access, Decoding, Ingest, Maintenance, Quality, Queue},
    labels::{DatabaseCall, ObjectCall},
};

/// All metrics.
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) http: Http,
    pub(crate) ingest: Ingest,
    pub(crate) access: Access,
    pub(crate) queue: Queue,
    pub(crate) decoding: Decoding,
    pub(crate) quality: Quality,
    pub(crate) maintenance: Maintenance,
    pub(crate) alarms: Alarms,
    pub(crate) objects: Calls<ObjectCall>,
    pub(crate) catalogue: Calls<DatabaseCall>,
}

impl Metrics {
    /// The metrics of a service with so many decode workers and these HTTP routes.
    pub(crate) fn new(workers: usize, routes: impl IntoIterator<Item = String>) -> Self {
        let mut registry = registry();
        let r = registry.sub_registry_with_prefix("cloud_decoder");
        build(r, env!("CARGO_PKG_VERSION"));
        let metrics = Self {
            http: Http::register(r, routes),
            ingest: Ingest::register(r),
            access: Access::register(r),
            queue: Queue::register(r),
            decoding: Decoding::register(r),
            quality: Quality::register(r),
            maintenance: Maintenance::register(r),
            alarms: Alarms::register(r),
            objects: Calls::register(r, "objects", "calls of the object store"),
            catalogue: Calls::register(r, "catalogue", "calls of the catalogue"),
            registry,
        };
        metrics.decoding.decode_workers.set(workers as i64);
        metrics
    }

    /// The OpenMetrics text.
    pub(crate) fn encode(&self) -> Result<String, fmt::Error> {
        text(&self.registry)
    }
}
