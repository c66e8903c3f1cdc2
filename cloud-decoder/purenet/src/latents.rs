//! The bits of a frame's patches.

use crate::error::DecodeError;
use crate::limits::{MAX_SIDE, PATCH};

/// A frame's size, in pixels and patches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

impl Size {
    pub(crate) fn new(width: u32, height: u32) -> Result<Self, DecodeError> {
        if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
            return Err(DecodeError::Size { width, height });
        }
        let (width, height) = (width as usize, height as usize);
        Ok(Self {
            width,
            height,
            rows: height.div_ceil(PATCH),
            columns: width.div_ceil(PATCH),
        })
    }

    fn patches(self) -> usize {
        self.rows * self.columns
    }

    /// The bits of each patch, where all have as many: one of `rates`, which follows from the length.
    pub(crate) fn equal<'l>(
        self,
        latents: &'l [u8],
        rates: &[u32],
    ) -> Result<Vec<&'l [u8]>, DecodeError> {
        let bytes = |bits: &u32| self.patches() * *bits as usize / 8;
        let Some(bits) = rates.iter().find(|&bits| bytes(bits) == latents.len()) else {
            return Err(DecodeError::Length {
                found: latents.len(),
                expected: rates.iter().map(bytes).collect(),
                width: self.width as u32,
                height: self.height as u32,
            });
        };
        Ok(latents.chunks_exact(*bits as usize / 8).collect())
    }

    /// The bits of each patch, where each has its own number of them, one of `rates`.
    pub(crate) fn mixed<'l>(
        self,
        latents: &'l [u8],
        bits: &[u16],
        rates: &[u32],
    ) -> Result<Vec<&'l [u8]>, DecodeError> {
        let other = |&&bits: &&u16| !rates.contains(&bits.into());
        if let Some(&found) = bits.iter().find(other) {
            let allowed = rates.to_vec();
            return Err(DecodeError::Prefix { found, allowed });
        }
        let needed: usize = bits.iter().map(|&bits| usize::from(bits) / 8).sum();
        if bits.len() != self.patches() || needed != latents.len() {
            return Err(DecodeError::Mixed {
                patches: bits.len(),
                expected_patches: self.patches(),
                found: latents.len(),
                needed,
            });
        }
        let mut rest = latents;
        let patches = bits.iter().map(|&bits| {
            let (patch, after) = rest.split_at(usize::from(bits) / 8);
            rest = after;
            patch
        });
        Ok(patches.collect())
    }
}
