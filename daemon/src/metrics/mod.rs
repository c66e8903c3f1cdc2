//! Prometheus metrics: those that every service has, and declarations for its own ([`metrics!`](crate::metrics)).
//!
//! Every series exists from the start: labels are enumerations, so all values of a label are known when it is
//! registered.
//! `docs/metrics.md` is the inventory.

mod buckets;
mod calls;
mod declare;
mod format;
mod http;
mod label;
mod metric;
mod process;

#[doc(hidden)]
pub use prometheus_client::{encoding as __encoding, registry::Registry as __Registry};

pub use self::{
    buckets::{LONG, SHORT, WAIT},
    calls::Calls,
    format::answer,
    http::{Http, observe},
    label::Label,
    metric::{Counters, Metric, Raised, build, histogram, registry, text},
};
