//! Inference of the full-frame convolutional decoder on the CPU.
//!
//! A [`Decoder`] is loaded from a safetensors file whose metadata describes the network, stage by stage
//! (`docs/formats.md`, "Decoder"), and turns the latents of one frame into RGB. Loading is strict: a file
//! that is not exactly such a network is refused with a [`ModelError`] that names the stage or tensor. A [`Model`] is the same
//! file with its description and weights to read, for other engines.
//!
//! A frame passes through the network one row of patches at a time: each stage computes what its input suffices for and lets
//! go of the rest, so that memory grows with the width of a frame and not with its height. Activations are channels last, with a
//! margin of zeros so that no kernel looks at borders. There are several [`Kernel`]s, chosen at run time. In full precision 3x3 layers
//! go by Winograd's F(4x4, 3x3), all others directly; both end in one register-blocked kernel (AVX-512, AVX2 with FMA, or portable). On AMX
//! maps and weights are bf16, and all layers are direct. Rows and panels of output channels are spread over the current rayon
//! pool. Each output value is one fixed sequence of operations: it does not depend on the number of threads.
#![deny(unsafe_code)]

mod conv;
mod decoder;
mod engine;
mod error;
mod forward;
mod kernel;
mod layout;
mod linear;
mod loader;
mod model;
#[cfg(test)]
mod noise;
mod rows;
mod simd;
mod tiled;
mod value;
mod winograd;

pub use decoder::Decoder;
pub use error::{DecodeError, ModelError};
pub use kernel::Kernel;
pub use layout::{BaseLayout, Layout, StageLayout};
pub use model::Model;

/// Side of a patch, in pixels.
pub const PATCH: usize = 32;

/// Most pixels along one side of a frame.
pub const MAX_SIDE: u32 = 16_384;

/// Most channels of any feature map.
pub const MAX_CHANNELS: usize = 1024;

/// Most stages of a network.
pub const MAX_STAGES: usize = 64;

/// Most weights of a network as they are packed, output channels rounded up to 32 in each layer and 36 for the 9 of a 3x3 kernel
/// that is transformed: 128 MiB of memory.
pub const MAX_WEIGHTS: usize = 32 << 20;

/// Most memory, in bytes, that the feature maps of one decode may take (the frame itself not counted).
pub const MAX_ACTIVATION_BYTES: usize = 1 << 30;
