//! The cloud side of Patchwire: takes encoded frames, keeps them, rebuilds full frames from their latents, measures
//! them and shows them.
//!
//! A frame's way: [`ingest`] checks it, [`store`] makes it durable (objects, then its row), and the ack goes out. A
//! worker of [`decode`] takes it from the store's queue, rebuilds and measures it, and the store records the outcome.
//! Each change of a row reaches the watchers of [`http`] and [`grpc`] through the store's change feed. [`analysis`]
//! watches cameras by their frames, [`maintenance`] removes old frames and repairs, [`cluster`] connects the processes
//! of one service. [`service`] builds all of it.
#![forbid(unsafe_code)]

pub mod alarm;
mod analysis;
mod auth;
mod clock;
mod cluster;
pub mod config;
mod decode;
pub mod frame;
mod grpc;
mod http;
pub mod ingest;
mod maintenance;
mod metrics;
mod readiness;
mod service;
pub mod store;

pub use config::{Config, TOKENS};
pub use maintenance::{Adoptions, adopt};
pub use service::{Running, start};
