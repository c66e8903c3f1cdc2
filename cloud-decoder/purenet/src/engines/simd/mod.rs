//! The inner kernel: a tile of pixels by a panel of output channels, accumulated over a window.
//!
//! With channels last, the window of a pixel is a few contiguous rows: `kernel` rows of
//! `kernel * channels` values, the next pixel's being `channels` values further. A linear layer is the
//! case of one row. Weights are packed so that each window value meets one [`Lanes`] of [`PANEL`] outputs.
#![allow(unsafe_code)]

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod isa;
mod lanes;
mod portable;
#[cfg(test)]
mod tests;
pub(crate) mod transforms;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub(crate) use isa::Isa;
pub(crate) use lanes::{Lanes, PANEL, Vector, WIDTH, Windows, Work};
