//! The full-frame convolutional decoder in integers: the same latents give the same pixels on every processor.
//!
//! A [`Decoder`] is loaded from a safetensors file whose metadata describes the network, stage by stage
//! (`docs/formats.md`, "Decoder"), and turns the latents of one frame into RGB. Loading is strict: a file that is not
//! exactly such a network, or whose sums could leave 32 bits, is refused with a [`ModelError`] that names the stage or
//! tensor. A [`Model`] is the same file with its description and weights to read, for other engines.
//!
//! The way of a decoder: `file` reads the metadata into a `layout`, whose rules `layout` and `checks` hold; `network`
//! lowers it to layers whose weights are packed, taking tensors from `tensors`; `plan` decides how many rows are
//! computed at once; a `pass` runs a frame through the stages. Each kind of stage is one file in `stages`; `arithmetic`
//! has the few operations that the format specifies, `layer` the convolution, `ends` what follows its sums, and `synthesis` the first stage.
//!
//! A frame passes through the network some rows of patches at a time, so that memory grows with the width of a frame
//! and not with its height. Maps are channels last, with margins, so that no kernel looks at borders. Where a map is
//! read by a convolution it is held as bytes, where something is added to it in 16 bits. Sums are those of the crate
//! [`kernels`]; what follows them is plain code that is compiled for the same instructions. Rows, and parts of them,
//! are spread over the current rayon pool.
#![forbid(unsafe_code)]

mod arithmetic;
mod checks;
mod decoder;
mod ends;
mod error;
mod file;
mod float;
mod graph;
mod latents;
mod layer;
mod layer_tensors;
mod layout;
mod limits;
mod maps;
mod model;
mod network;
mod pass;
mod plan;
mod rows;
mod shape;
mod stages;
mod synthesis;
mod tensors;

pub use decoder::Decoder;
pub use error::{DecodeError, ModelError};
pub use graph::{ChannelOrder, Graph, Kernels};
pub use layout::{BaseLayout, Layout};
pub use limits::{MAX_ACTIVATION_BYTES, MAX_CHANNELS, MAX_SIDE, MAX_STAGES, MAX_WEIGHTS, PATCH};
pub use model::{Drawn, Model};
pub use stages::{Conv, Join, PatchLinear, PixelShuffle, Residual, StageLayout};
