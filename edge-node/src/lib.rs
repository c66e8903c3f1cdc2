//! The edge daemon: accepts camera frames over HTTP, encodes them on the emulated ASIC, keeps them in a durable spool
//! and sends them to the cloud.
//!
//! A frame, posted or fetched by [`sources`], passes through the pipeline (bytes to pixels with [`media`], then the
//! chip), the [`spool`] (on disk) and the [`uplink`] (the stream to the cloud). [`start`] runs all of it in this
//! process.
#![forbid(unsafe_code)]

pub mod config;
mod delivery;
mod http;
pub mod metrics;
mod pipeline;
mod service;
pub mod sources;
pub mod spool;
mod task;

pub use self::{
    config::{Config, ConfigError},
    delivery::describe_program,
    service::{Running, TOKENS, start},
    task::Task,
};
