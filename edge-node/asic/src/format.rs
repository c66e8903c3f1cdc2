//! The `.nqe` file: one program, self-describing.
//!
//! All integers are little-endian. Bit streams fill each byte from its least significant bit.
//!
//! ```text
//! magic         4   "NQE1"
//! version       u16 3
//! task          u8  0 classify, 1 compress
//! reserved      u8  0
//! body_len      u32 bytes from here to the digest, exclusive
//! name          u8 length, then UTF-8 (0 to 64 bytes)
//! input         u16 height, u16 width, u8 channels; 32, 32, 3 (pixels, u8, height-width-channel order)
//! labels        u16 count, then each: u8 length, UTF-8 (count is 0 for compress)
//! layers        u16 count (1 to 64), then each layer
//! digest        32  SHA-256 of all bytes before it: the program's id
//! ```
//!
//! A layer starts with its kind, u8:
//!
//! ```text
//! 0 convolution
//!     out_channels  u16  1 to 4096
//!     kernel        u8 height, u8 width   1 to 32 each
//!     stride        u8   1 to 32
//!     padding       u8   0 to 16, zeros on all four sides
//!     groups        u16  divides input and output channels
//!     weights       u8   1 binary, 2 ternary, 3 quinary (= bits per weight)
//!     output        u8   0 codes (2 bits), 1 latent bits, 2 logits (i32)
//!     shift         u8   0 to 31; 0 for latent bits; of logits, the scale of scores
//!     bias_bits     u8   1 to 32
//!     mirror        u8   0 none, 1 output channels, 2 input channels: see below; 0 where groups is not 1
//!     kernels       u16  1 to out_channels; fewer than out_channels only where groups is 1; those stored, if mirrored
//!     gap_bits      u8   0 to 10; 0: no kernel is pruned
//!     packed kernel indices   only if kernels < out_channels and mirror is 0: each output channel's kernel, in
//!                      the bits that kernels - 1 needs
//!     packed kept channels    only if gap_bits > 0: gap_bits-bit fields, kernel after kernel, see below
//!     packed weights   ceil(count * bits / 8) bytes, order: kernel, kernel row, kernel column, kept input channel
//!                      of the group
//!     packed biases    ceil(count * bias_bits / 8) bytes, two's complement; one an output channel, or as
//!                      many as kernels if mirror is 1
//! 1 max pooling
//!     kernel        u8   1 to 32, square
//!     stride        u8   1 to 32        no padding; the output side is (in - kernel) / stride + 1
//! ```
//!
//! Packed weights: binary 1 = +1, 0 = -1; ternary and quinary are two's complement in 2 and 3 bits.
//!
//! Kept channels: each kernel starts at input channel 0 of its group. A field v below 2^gap_bits - 1 skips v channels
//! and keeps the next one, which must exist; v = 2^gap_bits - 1 skips as many and keeps none. A kernel ends where no
//! channel of its group is left, and may keep none. Weights of channels that are not kept count 0.
//!
//! Mirrored kernels: half of the layer is stored, no kernel is pruned. With 1, kernels and biases are those of the
//! first half of the output channels; channel c + out_channels / 2 has the bias of channel c, and its weight at column
//! x and input channel i is channel c's at column width - 1 - x and input channel i + n / 2 modulo n, of n input
//! channels (pixels: at input channel i). With 2, kernels hold the first n / 2 input channels; their weight at column x
//! and input channel i + n / 2 is that at column width - 1 - x and input channel i.
//!
//! Invariants, each refused with its own error when broken:
//! - every value is in its range, every weight in its set, unused bits of a last byte are 0, nothing trails;
//! - a kernel fits the padded map it reads, groups divide the channels on both sides;
//! - the last layer, and only it, outputs bits (compress: 8 to 4096, a multiple of 8) or logits (classify:
//!   1 x 1 x count of labels); latent bit i of a patch is position (y, x, channel) in row-major order;
//! - no accumulator can leave i32 for any input;
//! - packed weights, kernel indices, kept channels, biases, shifts (5 bits a convolution to codes) and the largest sum
//!   of a layer's input and output maps (8 bits a pixel value, 2 a code, 1 a latent bit, 32 a logit) fit 1,048,576
//!   bits.
//!
//! A program has exactly one encoding. Reading allocates at most a small multiple of the file's length.

use crate::bits;
use crate::builder::ProgramBuilder;
use crate::error::ProgramError;
use crate::id::ProgramId;
use crate::kinds::{OutputKind, Task, WeightKind};
use crate::program::Program;
use crate::reader::Reader;
use crate::rules::weight_count;
use crate::shapes::{ConvSpec, Map, Pool};
use crate::wiring::Wiring;
use crate::writer::{self, DIGEST_LEN, MAGIC, VERSION};

impl Program {
    /// Reads a `.nqe` file ([`format`](self)).
    ///
    /// # Errors
    /// The first violation of the format, with its layer and field, the value found and the values allowed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ProgramError> {
        read(bytes)
    }

    /// The program as a `.nqe` file. A program that was read from bytes gives the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = writer::content(self);
        bytes.extend_from_slice(self.id().as_bytes());
        bytes
    }
}

/// Reads and checks a whole file.
fn read(bytes: &[u8]) -> Result<Program, ProgramError> {
    let mut reader = Reader {
        rest: bytes,
        layer: None,
    };
    let magic = reader.array("magic")?;
    if magic != MAGIC {
        return Err(ProgramError::Magic { found: magic });
    }
    let version = reader.u16("version")?;
    reader.check("version", version, version == VERSION.into(), "3")?;
    let task = match reader.u8("task")? {
        0 => Task::Classify,
        1 => Task::Compress,
        found => return Err(reader.refuse("task", found, "0 (classify) or 1 (compress)")),
    };
    let reserved = reader.u8("reserved")?;
    reader.check("reserved", reserved, reserved == 0, "0")?;
    let body_len = u32::from_le_bytes(reader.array("body_len")?);
    let body = reader.take(u64::from(body_len), "body")?;
    let digest = ProgramId::from(reader.array::<DIGEST_LEN>("digest")?);
    reader.end("bytes after the digest")?;
    let computed = ProgramId::of(&bytes[..bytes.len() - DIGEST_LEN]);
    if digest != computed {
        return Err(ProgramError::Digest {
            found: digest,
            computed,
        });
    }
    read_body(
        task,
        Reader {
            rest: body,
            layer: None,
        },
    )
}

fn read_body(task: Task, mut reader: Reader<'_>) -> Result<Program, ProgramError> {
    let name = reader.text("name")?;
    for (field, side) in [
        ("input height", Map::INPUT.height),
        ("input width", Map::INPUT.width),
    ] {
        let found = reader.u16(field)?;
        reader.check(field, found, found == side, "32")?;
    }
    let channels = reader.u8("input channels")?;
    reader.check(
        "input channels",
        channels,
        channels == Map::INPUT.channels,
        "3",
    )?;
    let count = reader.u16("labels")?;
    let labels = (0..count)
        .map(|_| reader.text("label"))
        .collect::<Result<Vec<_>, _>>()?;
    let mut builder = ProgramBuilder::new(task, name, labels)?;
    let count = reader.u16("layers")?;
    reader.check("layers", count, (1..=64).contains(&count), "1 to 64")?;
    for layer in 0..count as usize {
        reader.layer = Some(layer);
        match reader.u8("kind")? {
            0 => read_conv(&mut reader, &mut builder)?,
            1 => builder.pool(Pool {
                kernel: reader.u8("kernel")?,
                stride: reader.u8("stride")?,
            })?,
            found => {
                return Err(reader.refuse("kind", found, "0 (convolution) or 1 (max pooling)"));
            }
        }
    }
    reader.layer = None;
    reader.end("bytes after the last layer")?;
    builder.finish()
}

fn read_conv(reader: &mut Reader<'_>, builder: &mut ProgramBuilder) -> Result<(), ProgramError> {
    let spec = ConvSpec {
        out_channels: reader.u16("out_channels")?,
        kernel_height: reader.u8("kernel height")?,
        kernel_width: reader.u8("kernel width")?,
        stride: reader.u8("stride")?,
        padding: reader.u8("padding")?,
        groups: reader.u16("groups")?,
        weights: match reader.u8("weights")? {
            1 => WeightKind::Binary,
            2 => WeightKind::Ternary,
            3 => WeightKind::Quinary,
            found => {
                return Err(reader.refuse(
                    "weights",
                    found,
                    "1 (binary), 2 (ternary) or 3 (quinary)",
                ));
            }
        },
        output: match reader.u8("output")? {
            0 => OutputKind::Codes,
            1 => OutputKind::Latent,
            2 => OutputKind::Logits,
            found => {
                return Err(reader.refuse(
                    "output",
                    found,
                    "0 (codes), 1 (latent bits) or 2 (logits)",
                ));
            }
        },
        shift: reader.u8("shift")?,
        bias_bits: reader.u8("bias_bits")?,
    };
    builder.conv_output(&spec)?;
    let wiring = Wiring::read(reader, builder.layers(), &spec, builder.map())?;
    let width = spec.weights.bits();
    let count = weight_count(&spec, &wiring, builder.map());
    let weights = reader
        .packed(count, width, "packed weights")?
        .map(|code| match spec.weights {
            WeightKind::Binary => 2 * code as i8 - 1,
            WeightKind::Ternary | WeightKind::Quinary => bits::sign_extend(code, width) as i8,
        });
    let weights = weights.collect();
    let count = wiring.biases(&spec) as usize;
    let biases = reader.packed(count, spec.bias_bits, "packed biases")?;
    let biases = biases
        .map(|bias| bits::sign_extend(bias, spec.bias_bits))
        .collect();
    builder.wired_conv(spec, wiring, weights, biases)
}
