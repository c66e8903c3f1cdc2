//! Products of windows of activations and packed weights on Intel AMX: in integers for the encoder, in bf16 for the decoder.
//!
//! A tile holds 16 rows of 64 bytes. One instruction multiplies a tile of 16 windows by a tile of weights of 16 columns, over
//! a depth of 64 bytes, and adds to a tile of 16 x 16 sums. Windows are taken where they lie in memory: each is a few runs of consecutive values
//! ([`Windows`]), and a tile of windows is 16 whose runs begin at even distances. Nothing is copied. Two tiles of windows meet two
//! of weights, so that each tile that is loaded is multiplied twice.
//!
//! Rust 1.95 has no stable intrinsics for AMX, so that the loops are assembly. [`Amx::detect`] finds none but on x86-64 with Linux. What the
//! instructions compute, in the order in which they add, is also there in plain code: [`Amx::emulated`].
#![deny(unsafe_code)]

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod machine;
mod plain;
mod product;
#[cfg(test)]
mod tests;

pub use product::{Amx, COLUMNS, Element, MAX_RUNS, ROWS, Sums, Tile, Weights, Windows};
