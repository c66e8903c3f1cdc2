//! Products of windows of activations and packed weights on Intel AMX: in integers for the encoder, in bf16 for the
//! decoder.
//!
//! A tile holds 16 rows of 64 bytes. One instruction multiplies a tile of 16 windows by a tile of weights of 16
//! columns, over a depth of 64 bytes, and adds to a tile of 16 x 16 sums. Windows are read where they lie in memory:
//! each is a few runs of consecutive values ([`Windows`]), and a tile of windows is 16 whose runs begin at even
//! distances. Nothing is copied. Two tiles of windows are multiplied by two of weights, so that each loaded tile is
//! multiplied twice.
//!
//! Rust 1.95 has no stable intrinsics for AMX, so the loops are assembly. [`Amx::detect`] succeeds only on x86-64 with
//! Linux. [`Amx::emulated`] computes the same in plain code, and adds in the same order.
#![deny(unsafe_code)]

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod machine;
mod operands;
mod plain;
mod product;
#[cfg(test)]
mod tests;

pub use operands::{COLUMNS, Element, MAX_RUNS, ROWS, Sums, Tile, Weights, Windows};
pub use product::Amx;
