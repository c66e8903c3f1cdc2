//! Decoding: which decoder takes a frame, and the workers that rebuild and measure frames.

mod error;
mod isolation;
pub(crate) mod picture;
mod rebuild;
mod registry;
mod worker;

pub(crate) use rebuild::warm_up;
pub(crate) use registry::{Decoders, NoDecoder};
pub(crate) use worker::Worker;
