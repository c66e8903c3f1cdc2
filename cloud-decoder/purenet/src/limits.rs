//! Limits of networks and frames.

/// Side of a patch, in pixels.
pub const PATCH: usize = 32;

/// Most pixels along one side of a frame.
pub const MAX_SIDE: u32 = 16_384;

/// Most channels of any feature map.
pub const MAX_CHANNELS: usize = 1024;

/// Most stages of a network.
pub const MAX_STAGES: usize = 64;

/// Most weights of a network as they are packed, which is 128 MiB of memory. Each layer's output channels are rounded
/// up to 32, and a 3x3 kernel that is transformed counts 36 values in place of 9.
pub const MAX_WEIGHTS: usize = 32 << 20;

/// Most memory, in bytes, that the feature maps of one decode may take, the frame itself not counted.
pub const MAX_ACTIVATION_BYTES: usize = 1 << 30;
