//! A frame described by its latents: how often each bit of a patch is set, over the whole frame and in a coarse grid.
//!
//! The shares over the whole frame change with focus and light, and hardly with a picture that has moved. The grid
//! shows that: [`COLUMNS`] by [`ROWS`] cells, each with the shares of the first [`BITS`] bits, which stand for the
//! brightest and coarsest structure of a patch. Small frames have as many cells as patches.

use latent::LatentFrame;

/// Cells along a row of the grid, and rows.
pub(crate) const COLUMNS: usize = 6;
pub(crate) const ROWS: usize = 4;
/// Bits of a patch that the grid looks at.
pub(crate) const BITS: usize = 16;

/// How often bits are set, from 0 (never) to 255 (always).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Each bit of a patch, over all patches.
    pub(crate) whole: Vec<u8>,
    /// The first [`BITS`] bits, cell after cell in row-major order.
    pub(crate) grid: Vec<u8>,
}

/// Describes a frame.
pub(crate) fn describe(latents: &LatentFrame) -> Shares {
    let bits = latents.bits as usize;
    let (columns, rows) = (latents.patches_x() as usize, latents.patches_y() as usize);
    let (across, down) = (columns.min(COLUMNS), rows.min(ROWS));
    let coarse = bits.min(BITS);
    let mut whole = Counts::new(bits);
    let mut cells = vec![Counts::new(coarse); across * down];
    let patches = latents.payload.chunks_exact((bits / 8).max(1));
    for (at, patch) in patches.enumerate() {
        let (x, y) = (at % columns, at / columns);
        whole.add(patch);
        cells[(y * down / rows).min(down - 1) * across + x * across / columns].add(patch);
    }
    Shares {
        whole: whole.shares(),
        grid: cells.iter().flat_map(Counts::shares).collect(),
    }
}

/// How many patches have each bit set.
#[derive(Clone)]
struct Counts {
    set: Vec<u32>,
    patches: u32,
}

impl Counts {
    fn new(bits: usize) -> Self {
        Self {
            set: vec![0; bits],
            patches: 0,
        }
    }

    fn add(&mut self, patch: &[u8]) {
        self.patches += 1;
        for (byte, counts) in patch.iter().zip(self.set.chunks_mut(8)) {
            for (bit, count) in counts.iter_mut().enumerate() {
                *count += u32::from(byte >> bit & 1);
            }
        }
    }

    fn shares(&self) -> Vec<u8> {
        let patches = f64::from(self.patches.max(1));
        let share = |&count: &u32| (f64::from(count) / patches * 255.0).round() as u8;
        self.set.iter().map(share).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(width: u32, height: u32, bits: u32, payload: Vec<u8>) -> LatentFrame {
        LatentFrame {
            bits,
            width,
            height,
            program: [0; 32],
            payload: payload.into(),
        }
    }

    #[test]
    fn shares_count_each_bit_over_patches() {
        let payload = vec![0b0000_0001, 0xff, 0b0000_0011, 0x00];
        let shares = describe(&frame(64, 32, 16, payload));
        assert_eq!(shares.whole[..3], [255, 128, 0]);
        assert_eq!(shares.whole[8..], [128; 8]);
    }

    #[test]
    fn a_cell_counts_its_own_patches() {
        // 12x8 patches of 16 bits: those of the lower right cell alone are set.
        let payload = (0..12 * 8).flat_map(|at| match (at % 12 >= 10, at / 12 >= 6) {
            (true, true) => [0xff, 0xff],
            _ => [0, 0],
        });
        let shares = describe(&frame(384, 256, 16, payload.collect()));
        assert_eq!(shares.grid.len(), COLUMNS * ROWS * BITS);
        let (others, last) = shares.grid.split_at((COLUMNS * ROWS - 1) * BITS);
        assert!(others.iter().all(|&share| share == 0));
        assert_eq!(last, [255; BITS]);
    }

    #[test]
    fn a_frame_of_one_patch_has_one_cell() {
        let shares = describe(&frame(7, 5, 256, vec![0xff; 32]));
        assert_eq!(shares.grid, [255; BITS]);
        assert_eq!(shares.whole, [255; 256]);
    }
}
