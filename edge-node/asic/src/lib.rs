//! Bit-exact emulation of a 1-megabit mixed-precision neural encoder ASIC.
//!
//! A [`Program`] is loaded into the chip: a layer table with packed weights, biases and shifts, for one
//! [`Task`]. It comes as a `.nqe` file ([`format`](mod@crate::format) specifies it) and is refused unless it fits
//! [`BUDGET_BITS`]. An [`Emulator`] runs a program on 32x32 patches or on whole frames. [`reference`](mod@reference) is
//! the golden model: plain scalar integer code that every faster path must equal bit for bit.
//!
//! ```
//! use std::sync::Arc;
//! use nqe::{ConvSpec, Emulator, Output, OutputKind, ProgramBuilder, Task, WeightKind};
//!
//! // Eight equal latent bits per patch: whether its red channel is bright.
//! let spec = ConvSpec {
//!     out_channels: 8, kernel_height: 32, kernel_width: 32, stride: 1, padding: 0, groups: 1,
//!     weights: WeightKind::Ternary, output: OutputKind::Latent, shift: 0, bias_bits: 24,
//! };
//! let weights = [1, 0, 0].repeat(8 * 32 * 32);
//! let mut builder = ProgramBuilder::new(Task::Compress, "red", Vec::new())?;
//! builder.conv(spec, weights, vec![-128 * 1024; 8])?;
//! let emulator = Emulator::new(Arc::new(builder.finish()?));
//! assert_eq!(emulator.run_patch(&[200; 32 * 32 * 3])?, Output::Bits(vec![0xff]));
//! assert_eq!(emulator.run_patch(&[100; 32 * 32 * 3])?, Output::Bits(vec![0x00]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// The random programs of the tests, which name the crate.
#[cfg(test)]
#[path = "../tests/common/mod.rs"]
mod common;
#[cfg(test)]
extern crate self as nqe;

mod banks;
mod bits;
mod builder;
mod checks;
mod chip;
mod dense;
mod emulator;
mod error;
pub mod format;
mod frame;
mod id;
mod kinds;
mod layer;
mod layout;
mod memory;
mod mirror;
mod pack;
mod program;
mod reader;
pub mod reference;
mod rows;
mod rules;
mod shapes;
mod sinks;
mod wiring;
mod writer;

pub use builder::ProgramBuilder;
pub use chip::{BUDGET_BITS, PATCH, PATCH_BYTES};
pub use dense::Dense;
pub use emulator::Emulator;
pub use error::{Field, FrameError, ProgramError};
pub use id::{ParseIdError, ProgramId};
pub use kernels::Kernel;
pub use kinds::{Element, OutputKind, Task, WeightKind};
pub use layer::{Conv, Layer, Op};
pub use memory::{LayerMemory, MemoryMap};
pub use mirror::Mirror;
pub use program::Program;
pub use reference::Output;
pub use shapes::{ConvSpec, Map, Pool};
pub use wiring::{Pruned, Shared, Wiring};
