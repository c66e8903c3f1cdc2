//! What the cameras see: a small picture for each number, the same for the same seed.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// Cameras that take turns.
pub(crate) const CAMERAS: u64 = 50;
/// Most squares on a picture.
const SQUARES: u32 = 12;

/// One picture in so many has four patches, the others have one: most of the work is not to be that of the decoder.
const LARGE_EVERY: u64 = 8;

/// Side of picture `number` in pixels.
pub(crate) fn side(number: u64) -> u32 {
    match number.is_multiple_of(LARGE_EVERY) {
        true => 64,
        false => 32,
    }
}

/// The camera that sees picture `number`.
pub(crate) fn camera(number: u64) -> String {
    format!("camera-{}", number % CAMERAS)
}

/// Interleaved RGB of picture `number`: a gradient with squares and noise on it, so that no two are alike.
pub(crate) fn picture(seed: u64, number: u64) -> Vec<u8> {
    let side = side(number);
    let mut rng = StdRng::seed_from_u64(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let from: [u8; 3] = rng.random();
    let to: [u8; 3] = rng.random();
    let mut rgb = Vec::with_capacity((side * side * 3) as usize);
    for y in 0..side {
        for x in 0..side {
            for channel in 0..3 {
                let (a, b) = (u32::from(from[channel]), u32::from(to[channel]));
                let along = x + y;
                rgb.push(((a * (2 * side - along) + b * along) / (2 * side)) as u8);
            }
        }
    }
    for _ in 0..rng.random_range(2..SQUARES) {
        let colour: [u8; 3] = rng.random();
        let (left, top) = (rng.random_range(0..side), rng.random_range(0..side));
        let size = rng.random_range(4..side / 2);
        for y in top..(top + size).min(side) {
            for x in left..(left + size).min(side) {
                let at = ((y * side + x) * 3) as usize;
                rgb[at..at + 3].copy_from_slice(&colour);
            }
        }
    }
    for value in &mut rgb {
        *value = value.saturating_add(rng.random_range(0..8));
    }
    rgb
}
