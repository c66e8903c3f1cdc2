//! Inference of the full-frame convolutional decoder on the CPU.
//!
//! A [`Decoder`] is loaded from a safetensors file whose metadata describes the network, stage by stage
//! (`docs/formats.md`, "Decoder"), and turns the latents of one frame into RGB. Loading is strict: a file
//! that is not exactly such a network is refused with a [`ModelError`] that names the stage or tensor.
//!
//! Activations are `f32`, row-major, channels last, with a margin of zeros around the frame so that no
//! kernel looks at borders. Weights are packed once, at load, in panels of output channels, and a
//! register-blocked kernel (AVX-512, AVX2 with FMA, or portable; chosen at run time) accumulates a tile of
//! pixels by a panel of channels over the whole window. Rows are spread over the current rayon pool.
//! Each output value is one fixed sequence of operations: it does not depend on the number of threads,
//! on the tiling, nor on the bands in which large frames are decoded to bound memory.
#![deny(unsafe_code)]

mod conv;
mod decoder;
mod error;
mod forward;
mod layout;
mod loader;
mod map;
mod simd;

pub use decoder::Decoder;
pub use error::{DecodeError, ModelError};

/// Side of a patch, in pixels.
pub const PATCH: usize = 32;

/// Most pixels along one side of a frame.
pub const MAX_SIDE: u32 = 16_384;

/// Most channels of any feature map.
pub const MAX_CHANNELS: usize = 1024;

/// Most stages of a network.
pub const MAX_STAGES: usize = 64;

/// Most weights of a network, its output channels rounded up to 32 in each layer: 128 MiB of memory.
pub const MAX_WEIGHTS: usize = 32 << 20;

/// Most memory, in bytes, that the feature maps of one decode may take (the frame itself not counted).
pub const MAX_ACTIVATION_BYTES: usize = 1 << 30;
