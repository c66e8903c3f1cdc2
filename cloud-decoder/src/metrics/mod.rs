//! Prometheus metrics, all registered at start. None is labelled by frame, and by camera only the alarms that stand.

mod declared;
mod labels;

pub(crate) use declared::Metrics;
pub(crate) use labels::{DatabaseCall, ObjectCall, Outcome};
