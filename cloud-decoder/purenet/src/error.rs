//! Why a model file or latents are refused.

/// Why a model file was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// Not a safetensors file.
    #[error("not a valid safetensors file: {0}")]
    Container(#[from] safetensors::SafeTensorError),
    /// A metadata entry is absent.
    #[error("metadata entry `{key}` is missing, needed are `format`, `program` and `stages`")]
    MetadataMissing {
        /// Name of the entry.
        key: &'static str,
    },
    /// Another format or another version of it.
    #[error(
        "metadata `format` is {found:?}, must be \"patchwire-decoder-2\"{}",
        if found == "patchwire-decoder-1" {
            "; `python -m patchwire_training.recipes.quantize` converts such a file (docs/decoder.md)"
        } else {
            ""
        }
    )]
    Format {
        /// The value in the file.
        found: String,
    },
    /// The program id is malformed.
    #[error("metadata `program` must be 64 lowercase hexadecimal digits")]
    Program,
    /// The network description does not parse.
    #[error("metadata `stages` is not a network description: {0}")]
    Stages(serde_json::Error),
    /// Too few or too many stages.
    #[error("network has {count} stages, must have 2 to {}", crate::MAX_STAGES)]
    StageCount {
        /// Stages found.
        count: usize,
    },
    /// A pixel shuffle after another stage than a convolution.
    #[error("{stage}: must follow a conv")]
    ShuffleOrder {
        /// Position and kind of the stage.
        stage: String,
    },
    /// The last stage is neither a convolution nor its pixel shuffle.
    #[error("{stage}: the last stage must be a conv, or a pixel_shuffle after one")]
    LastStage {
        /// Position, kind and name of the stage.
        stage: String,
    },
    /// `patch_linear` is not exactly the first stage.
    #[error("{stage}: the first stage, and only it, must be patch_linear")]
    StageOrder {
        /// Position, kind and name of the stage.
        stage: String,
    },
    /// A number of a stage is out of range.
    #[error("{stage}: {field} is {found}, allowed is {allowed}")]
    Field {
        /// Position, kind and name of the stage, or `base`.
        stage: String,
        /// Name of the number.
        field: &'static str,
        /// Its value.
        found: usize,
        /// The values that are allowed.
        allowed: String,
    },
    /// Two stages share a name, and so their tensors.
    #[error("{stage}: its name is taken by an earlier stage, names must be unique")]
    DuplicateName {
        /// Position, kind and name of the stage.
        stage: String,
    },
    /// A join in a network without a base.
    #[error("{stage}: needs a `base`, which the network does not have")]
    NothingToJoin {
        /// Position, kind and name of the stage.
        stage: String,
    },
    /// A map that is a frame, too, is read by another stage than a convolution.
    #[error("{stage}: in a network with a `base`, the second stage must be a conv")]
    AfterBase {
        /// Position, kind and name of the stage.
        stage: String,
    },
    /// The last stage does not produce a frame.
    #[error(
        "network ends with {channels} channels at {side} x {side} positions a patch, \
         must end with 3 channels at 32 x 32"
    )]
    Output {
        /// Channels of the last feature map.
        channels: usize,
        /// Its positions along the side of a patch.
        side: usize,
    },
    /// A tensor is absent.
    #[error("{stage}: tensor `{tensor}` is missing")]
    TensorMissing {
        /// Position, kind and name of the stage.
        stage: String,
        /// Name of the tensor.
        tensor: String,
    },
    /// A tensor has the wrong type.
    #[error("tensor `{tensor}` has type {found}, must be {expected}")]
    TensorType {
        /// Name of the tensor.
        tensor: String,
        /// Its type.
        found: String,
        /// The type it must have.
        expected: String,
    },
    /// A tensor has the wrong shape.
    #[error("tensor `{tensor}` has shape {found:?}, must have {expected:?}")]
    TensorShape {
        /// Name of the tensor.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape its stage calls for.
        expected: Vec<usize>,
    },
    /// A tensor holds a value out of range.
    #[error("tensor `{tensor}` holds {value}, allowed is {least} to {most}")]
    TensorValue {
        /// Name of the tensor.
        tensor: String,
        /// The offending value.
        value: i64,
        /// The least value that is allowed.
        least: i64,
        /// The largest one.
        most: i64,
    },
    /// The sum of an output could leave 32 bits.
    #[error(
        "layer `{name}`: the sum of output {output} may reach {sum}, allowed is {}",
        i32::MAX
    )]
    Sum {
        /// Name of the layer.
        name: String,
        /// Index of the output.
        output: usize,
        /// Its largest possible magnitude.
        sum: i64,
    },
    /// The sum of a hidden unit could leave 16 bits.
    #[error(
        "layer `{name}`: the sum of unit {unit} may reach {sum}, allowed is {}",
        i16::MAX
    )]
    HiddenSum {
        /// Name of the layer.
        name: String,
        /// Index of the unit.
        unit: usize,
        /// Its largest possible magnitude.
        sum: i64,
    },
    /// A tensor belongs to no stage.
    #[error("tensor `{tensor}` belongs to no stage")]
    TensorUnknown {
        /// Name of the tensor.
        tensor: String,
    },
    /// The network is too large.
    #[error(
        "{stage}: the network needs more than {} weights, output channels rounded up to 64",
        crate::MAX_WEIGHTS
    )]
    TooLarge {
        /// Position, kind and name of the first stage over the limit.
        stage: String,
    },
}

/// Why latents could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A side is zero or too long.
    #[error(
        "frame of {width} x {height} pixels, sides must be 1 to {}",
        crate::MAX_SIDE
    )]
    Size {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// The payload does not match the frame's size.
    #[error(
        "latents of {found} bytes, a frame of {width} x {height} pixels needs {}",
        expected.iter().map(usize::to_string).collect::<Vec<_>>().join(" or ")
    )]
    Length {
        /// Bytes given.
        found: usize,
        /// Bytes needed, at each rate that the decoder has.
        expected: Vec<usize>,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// A patch has a number of bits that the decoder does not have.
    #[error("a patch has {found} bits, allowed are {allowed:?}")]
    Prefix {
        /// Bits of the patch.
        found: u16,
        /// The decoder's rates.
        allowed: Vec<u32>,
    },
    /// Patches with bits of their own do not match the frame or the payload.
    #[error(
        "latents of {found} bytes for {patches} patches that need {needed}, the frame has {expected_patches} patches"
    )]
    Mixed {
        /// Patches whose bits were given.
        patches: usize,
        /// Patches of the frame.
        expected_patches: usize,
        /// Bytes given.
        found: usize,
        /// Bytes that the patches need.
        needed: usize,
    },
    /// Not even one row of patches with its surroundings fits in memory.
    #[error(
        "feature maps of a frame {width} pixels wide need {needed} bytes at once, the limit is {}",
        crate::MAX_ACTIVATION_BYTES
    )]
    Memory {
        /// Width in pixels.
        width: u32,
        /// Bytes needed.
        needed: usize,
    },
    /// It was to stop before the end.
    #[error("decoding was stopped")]
    Stopped,
}
