//! Limits of networks and frames.

/// Side of a patch, in pixels.
pub const PATCH: usize = 32;

/// Most pixels along one side of a frame.
pub const MAX_SIDE: u32 = 16_384;

/// Most channels of any feature map.
pub const MAX_CHANNELS: usize = 1024;

/// Most stages of a network.
pub const MAX_STAGES: usize = 64;

/// Most weights of a network, each layer's output channels rounded up to 64; they take at most 64 MiB of memory.
pub const MAX_WEIGHTS: usize = 32 << 20;

/// Most memory, in bytes, that the feature maps of one decode may take, the frame itself not counted.
pub const MAX_ACTIVATION_BYTES: usize = 1 << 30;
