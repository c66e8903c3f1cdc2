//! Frames to patches: edge replication for compression, area averaging for classification.

use rayon::prelude::*;

use crate::{FrameError, PATCH, PATCH_BYTES};

/// An RGB8 frame whose length has been checked.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'a> {
    rgb: &'a [u8],
    width: usize,
    height: usize,
}

impl<'a> Frame<'a> {
    pub(crate) fn new(rgb: &'a [u8], width: u32, height: u32) -> Result<Self, FrameError> {
        if width == 0 || height == 0 {
            return Err(FrameError::Empty { width, height });
        }
        let needed = u128::from(width) * u128::from(height) * 3;
        if rgb.len() as u128 != needed {
            return Err(FrameError::FrameLength {
                width,
                height,
                found: rgb.len(),
                needed,
            });
        }
        Ok(Self {
            rgb,
            width: width as usize,
            height: height as usize,
        })
    }

    pub(crate) fn patches_x(&self) -> usize {
        self.width.div_ceil(PATCH)
    }

    pub(crate) fn patches(&self) -> usize {
        self.patches_x() * self.height.div_ceil(PATCH)
    }

    fn row(&self, y: usize) -> &'a [u8] {
        &self.rgb[y * self.width * 3..(y + 1) * self.width * 3]
    }

    /// Patch `index` in row-major order; beyond the frame the nearest pixel repeats.
    pub(crate) fn patch(&self, index: usize, patch: &mut [u8; PATCH_BYTES]) {
        let (top, left) = (
            index / self.patches_x() * PATCH,
            index % self.patches_x() * PATCH,
        );
        let inside = (self.width - left).min(PATCH) * 3;
        for (dy, target) in patch.as_chunks_mut().0.iter_mut().enumerate() {
            let row = &self.row((top + dy).min(self.height - 1))[left * 3..];
            let target: &mut [u8; PATCH * 3] = target;
            // A copy of constant length is a few instructions.
            if let Some(whole) = row.first_chunk() {
                *target = *whole;
                continue;
            }
            target[..inside].copy_from_slice(row);
            let (filled, beyond) = target.split_at_mut(inside);
            for pixel in beyond.chunks_exact_mut(3) {
                pixel.copy_from_slice(&filled[inside - 3..]);
            }
        }
    }

    /// The frame averaged to 32x32, exactly, in integers.
    ///
    /// In units of 1/32 pixel, pixel x spans `[32 x, 32 (x + 1))` and output column i spans `[i W, (i + 1) W)`
    /// (its boundaries are at i W / 32 pixels); rows likewise. With overlaps wx, wy of pixel and cell
    ///
    /// ```text
    /// out = (sum of wx * wy * value + W H / 2) / (W H)        floor division: half rounds up
    /// ```
    ///
    /// because the weights of a cell add up to W H. Sums stay below 255 W H, which fits u64 for every frame that
    /// fits an address space. Frames smaller than 32 are enlarged by the same formula.
    pub(crate) fn average(&self) -> [u8; PATCH_BYTES] {
        let area = self.width as u64 * self.height as u64;
        let mut patch = [0; PATCH_BYTES];
        patch
            .par_chunks_exact_mut(PATCH * 3)
            .enumerate()
            .for_each(|(i, target)| {
                let mut sums = [0u64; PATCH * 3];
                for (y, wy) in overlaps(i, self.height) {
                    let row = self.row(y);
                    for (j, sum) in sums.chunks_exact_mut(3).enumerate() {
                        for (x, wx) in overlaps(j, self.width) {
                            for (sum, &value) in sum.iter_mut().zip(&row[x * 3..x * 3 + 3]) {
                                *sum += wx * wy * u64::from(value);
                            }
                        }
                    }
                }
                for (target, sum) in target.iter_mut().zip(sums) {
                    *target = ((sum + area / 2) / area) as u8;
                }
            });
        patch
    }
}

/// The pixels of a side of `length` that cell `i` of 32 touches, each with its overlap in 1/32 pixel.
fn overlaps(i: usize, length: usize) -> impl Iterator<Item = (usize, u64)> {
    let (start, end) = (i * length, (i + 1) * length);
    (start / PATCH..end.div_ceil(PATCH)).map(move |pixel| {
        let low = start.max(pixel * PATCH);
        let high = end.min((pixel + 1) * PATCH);
        (pixel, (high - low) as u64)
    })
}
