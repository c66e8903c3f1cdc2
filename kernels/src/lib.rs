//! Integer dot products of windows and weights, for the emulator of the chip and for the decoder.
//!
//! A [`Matrix`] holds weights that are packed for one [`Kernel`]: u8 activations with i8 weights, or i16 with i16. A
//! window is some runs of consecutive values in a map; [`Matrix::reads`] is told where runs begin, and
//! [`Matrix::multiply`] adds up the products of many windows, as exact sums in i32. Nothing is copied, and every kernel
//! gives the same sums.
//!
//! The choice of instructions is made once, when a matrix is packed: [`Kernel::chosen`] is the fastest that the machine
//! has, unless the environment variable `PATCHWIRE_KERNEL` names another one. Code around the products is compiled for
//! the same instructions by [`Simd::vectorized`].
#![deny(unsafe_code)]

mod call;
mod element;
mod kernel;
mod lines;
mod matrix;
mod operands;
mod simd;
mod tiles;
mod words;

pub use element::Element;
pub use kernel::{Kernel, VARIABLE};
pub use matrix::{Matrix, Reads};
pub use operands::{Aligned, LANES, Lanes, Plain};
pub use simd::Simd;
pub use words::{Words, Work};
