//! Inference of the full-frame convolutional decoder on the CPU.
//!
//! A [`Decoder`] is loaded from a safetensors file whose metadata describes the network, stage by stage
//! (`docs/formats.md`, "Decoder"), and turns the latents of one frame into RGB. Loading is strict: a file that is not
//! exactly such a network is refused with a [`ModelError`] that names the stage or tensor. A [`Model`] is the same file
//! with its description and weights to read, for other engines.
//!
//! The way of a decoder: `file` reads the metadata into a `layout`, whose rules `layout` and `checks` hold; `network`
//! lowers it to layers that an engine has packed, taking tensors from `weights`; `plan` decides how many rows are
//! computed at once; a `pass` runs a frame through the stages. Each kind of stage is one file in `stages`.
//!
//! A frame passes through the network some rows of patches at a time, so that memory grows with the width of a frame
//! and not with its height. Activations are channels last, with a margin of zeros so that no kernel looks at borders.
//! There are several [`Kernel`]s, chosen at run time. In full precision 3x3 layers go by Winograd's F(4x4, 3x3), all
//! others directly; both end in one register-blocked kernel (AVX-512, AVX2 with FMA, or portable). On AMX maps and
//! weights are bf16, and all layers are direct. Rows and panels of output channels are spread over the current rayon
//! pool. Each output value is one fixed sequence of operations: it does not depend on the number of threads.
#![deny(unsafe_code)]

mod checks;
mod decoder;
mod engine;
mod engines;
mod error;
mod file;
mod graph;
mod kernel;
mod layout;
mod limits;
mod model;
mod network;
#[cfg(test)]
mod noise;
mod pass;
mod plan;
mod rows;
mod shape;
mod stages;
mod value;
mod weights;

pub use decoder::Decoder;
pub use error::{DecodeError, ModelError};
pub use graph::{ChannelOrder, Graph, Kernels};
pub use kernel::Kernel;
pub use layout::{BaseLayout, Layout};
pub use limits::{MAX_ACTIVATION_BYTES, MAX_CHANNELS, MAX_SIDE, MAX_STAGES, MAX_WEIGHTS, PATCH};
pub use model::{Drawn, Model};
pub use stages::{Conv, Join, PatchLinear, PixelShuffle, Residual, StageLayout};
