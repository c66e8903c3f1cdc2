//! Pseudorandom numbers for unit tests.

/// Values in -1..1, the same each time.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<f32> {
    let value = |i: u64| (i + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    (0..len as u64)
        .map(|i| value(i) as f32 / (1 << 23) as f32 - 1.0)
        .collect()
}
