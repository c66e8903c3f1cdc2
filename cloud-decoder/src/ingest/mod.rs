//! Ingest: the streams of edge nodes, each frame acknowledged once it is durable.
//!
//! [`service`] opens streams, [`session`] reads one within its limits, [`coded`] decodes latents, [`validate`] checks
//! each frame, and [`sequence`] stores them in their order.

mod coded;
mod quota;
mod sequence;
mod service;
mod session;
mod shared;
mod validate;

pub(crate) use quota::Quotas;
pub(crate) use service::UplinkService;
pub(crate) use shared::Limits;
pub use validate::{CheckedFrame, validate};
