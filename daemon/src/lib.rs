//! Parts of a service that have nothing to do with frames: configuration, start and end of the process, health as seen
//! from outside, metrics, traces, the loop that accepts HTTP connections, errors of HTTP APIs, TLS and tokens.
#![forbid(unsafe_code)]

pub mod backoff;
pub mod boot;
pub mod clock;
pub mod config;
pub mod connections;
pub mod effective;
pub mod error;
pub mod expiry;
pub mod exposure;
pub mod files;
pub mod forwarded;
pub mod guesses;
pub mod health;
pub mod http;
pub mod http_error;
pub mod lenient;
mod links;
pub mod lock_file;
pub mod metrics;
pub mod origins;
pub mod proxy;
pub mod rate;
pub mod reference;
pub mod secrets;
pub mod slots;
pub mod tls;
pub mod tokens;
pub mod trace;
