//! Latents on their way: the [container](container) of one frame's latents, and the lossless [codec](codec) in which
//! containers travel over an uplink stream.
//!
//! The codec is integers only and gives the same bytes everywhere. It knows no service: [`stream`] holds the state that
//! both ends of a stream keep, and who owns the stream calls it in the order of the stream.
#![forbid(unsafe_code)]

mod arithmetic;
pub mod codec;
pub mod container;
mod contexts;
pub mod fit;
mod history;
mod logistic;
mod mix;
mod patches;
pub mod prior;
pub mod references;
pub mod stream;

pub use container::{
    LatentError, LatentFrame, MAX_BITS, MAX_SIDE, MIN_BITS, OVERHEAD_BYTES, PATCH,
};
