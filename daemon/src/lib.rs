//! What the two services share and what has nothing to do with frames: reading the configuration,
//! the start and end of the process, its health as seen from outside, its metrics, the loop that
//! accepts HTTP connections, and what keeps strangers out: TLS and tokens.
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
pub mod places;
pub mod proxy;
pub mod rate;
pub mod reference;
pub mod secrets;
pub mod tls;
pub mod tokens;
pub mod trace;
