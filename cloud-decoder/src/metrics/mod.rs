//! Prometheus metrics, all registered at start. No metric is labelled by frame, and only the ongoing alarms are
//! labelled by camera.

mod declared;
mod labels;

pub(crate) use declared::Metrics;
pub(crate) use labels::{DatabaseCall, ObjectCall, Outcome};
