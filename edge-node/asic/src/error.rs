//! Why a program or a frame is refused.

use std::fmt;

use thiserror::Error;

use crate::{BUDGET_BITS, OutputKind, PATCH_BYTES, ProgramId, Task, WeightKind};

/// Where in a program something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The layer, counted from 0; none for the file's header.
    pub layer: Option<usize>,
    /// The field's name in the format.
    pub name: &'static str,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.layer {
            Some(layer) => write!(f, "layer {layer} {}", self.name),
            None => write!(f, "program {}", self.name),
        }
    }
}

/// Why a program is refused. Layers are counted from 0.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// The bytes end inside a field.
    #[error("{field} is cut short: {needed} bytes are needed, {left} are left")]
    Truncated {
        /// The field being read.
        field: Field,
        /// Bytes the field takes.
        needed: u64,
        /// Bytes that are left.
        left: u64,
    },
    /// The file does not start with `NQE1`.
    #[error("program magic is {found:02x?}, allowed: 4e 51 45 31 (NQE1)")]
    Magic {
        /// The first four bytes.
        found: [u8; 4],
    },
    /// A number is outside what the format or the shapes allow.
    #[error("{field} is {found}, allowed: {allowed}")]
    Value {
        /// The field.
        field: Field,
        /// Its value.
        found: i64,
        /// The values that are allowed.
        allowed: String,
    },
    /// A text is not UTF-8.
    #[error("{field} is not valid UTF-8")]
    Utf8 {
        /// The field.
        field: Field,
    },
    /// A packed weight is outside its set.
    #[error("layer {layer} weight {index} is {found}, allowed: {kind} {}", kind.values())]
    Weight {
        /// The layer.
        layer: usize,
        /// Position in packing order.
        index: usize,
        /// The value.
        found: i32,
        /// The layer's kind of weights.
        kind: WeightKind,
    },
    /// The unused bits of a packed array's last byte are not 0.
    #[error("{field} end in unused bits {found:#b}, allowed: 0")]
    Spare {
        /// The array.
        field: Field,
        /// The unused bits.
        found: u8,
    },
    /// The trailing digest is not the SHA-256 of the bytes before it.
    #[error("program digest is {found}, allowed: {computed}, the SHA-256 of the bytes before it")]
    Digest {
        /// The digest in the file.
        found: ProgramId,
        /// The digest of the content.
        computed: ProgramId,
    },
    /// The program does not fit the chip.
    #[error("layer {layer} brings the chip to {bits} bits, allowed: {BUDGET_BITS}")]
    Budget {
        /// The layer that goes over.
        layer: usize,
        /// Weights, biases, shifts and the largest pair of maps up to and with this layer.
        bits: u64,
    },
    /// A sum could leave 32 bits.
    #[error(
        "layer {layer} channel {channel} can sum to {low}..={high}, allowed: 32-bit signed integers"
    )]
    Accumulator {
        /// The layer.
        layer: usize,
        /// The output channel.
        channel: usize,
        /// Smallest possible sum.
        low: i64,
        /// Largest possible sum.
        high: i64,
    },
    /// A layer follows the one that ends the program.
    #[error("layer {layer} outputs {found}, allowed only in the last layer")]
    NotLast {
        /// The layer that outputs.
        layer: usize,
        /// The layer's output.
        found: OutputKind,
    },
    /// The last layer does not do the program's task.
    #[error("layer {layer} is the last and outputs {found}, allowed for {task}: {}", task.output())]
    LastLayer {
        /// The layer.
        layer: usize,
        /// The layer's output.
        found: OutputKind,
        /// The program's task.
        task: Task,
    },
}

/// Why a frame or patch is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The program does another task.
    #[error("the program does {found}, this call needs one for {needed}")]
    Task {
        /// The program's task.
        found: Task,
        /// The call's task.
        needed: Task,
    },
    /// A side is 0.
    #[error("the frame is {width}x{height} pixels, allowed: sides of at least 1")]
    Empty {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// The pixels do not fill the frame.
    #[error("the frame is {width}x{height} pixels and holds {found} bytes, allowed: {needed}")]
    FrameLength {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Bytes given.
        found: usize,
        /// Bytes a frame of this size has.
        needed: u128,
    },
    /// The pixels are not one patch.
    #[error("the patch holds {found} bytes, allowed: {PATCH_BYTES}")]
    PatchLength {
        /// Bytes given.
        found: usize,
    },
}
