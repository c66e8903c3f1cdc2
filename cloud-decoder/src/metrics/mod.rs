//! Prometheus metrics, all registered at start. None is labelled by frame, and by camera only the alarms that stand.

mod alarms;
mod groups;
mod labels;
mod registry;

pub(crate) use labels::{DatabaseCall, ObjectCall, Outcome};
pub(crate) use registry::Metrics;
