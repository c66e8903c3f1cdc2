//! Sizes of the chip and of a patch.

/// Bits on the chip: packed weights, biases, shifts and the largest pair of feature maps alive together.
pub const BUDGET_BITS: u64 = 1_048_576;

/// Side of a patch, in pixels.
pub const PATCH: usize = 32;

/// Bytes of one patch: 32 x 32 pixels of red, green, blue.
pub const PATCH_BYTES: usize = PATCH * PATCH * 3;
