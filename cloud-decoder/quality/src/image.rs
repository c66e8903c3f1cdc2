//! Checked sizes and luma planes.

use crate::error::QualityError;
use rayon::prelude::*;

/// Checks that `rgb` holds exactly `width` x `height` pixels.
pub(crate) fn check(
    image: &'static str,
    rgb: &[u8],
    width: u32,
    height: u32,
) -> Result<(), QualityError> {
    if width == 0 || height == 0 {
        return Err(QualityError::Empty { width, height });
    }
    if rgb.len() as u128 != u128::from(width) * u128::from(height) * 3 {
        return Err(QualityError::Length {
            image,
            width,
            height,
            actual: rgb.len(),
        });
    }
    Ok(())
}

/// BT.601 luma, 0 to 255.
pub(crate) fn luma([r, g, b]: [u8; 3]) -> f64 {
    0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b)
}

/// A plane of luma, row-major.
pub(crate) struct Luma {
    width: usize,
    data: Vec<f32>,
}

impl Luma {
    /// Luma of a checked RGB image.
    pub(crate) fn new(rgb: &[u8], width: u32) -> Self {
        let (pixels, _) = rgb.as_chunks();
        let data = pixels
            .par_iter()
            .with_min_len(1 << 14)
            .map(|&pixel| luma(pixel) as f32)
            .collect();
        Self {
            width: width as usize,
            data,
        }
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn height(&self) -> usize {
        self.data.len() / self.width
    }

    pub(crate) fn row(&self, y: usize) -> &[f32] {
        &self.data[y * self.width..][..self.width]
    }

    /// The plane with sides below `side` extended to it by mirroring, the border pixel repeated.
    pub(crate) fn mirrored_to(&self, side: usize) -> Self {
        let (width, height) = (self.width().max(side), self.height().max(side));
        let data = (0..height)
            .flat_map(|y| (0..width).map(move |x| (x, y)))
            .map(|(x, y)| self.row(mirror(y, self.height()))[mirror(x, self.width())])
            .collect();
        Self { width, data }
    }

    /// Means of 2 x 2 blocks; an odd side gets one zero in front.
    pub(crate) fn halved(&self) -> Self {
        let (pad_x, pad_y) = (self.width() % 2, self.height() % 2);
        let (width, height) = (self.width().div_ceil(2), self.height().div_ceil(2));
        let mut data = vec![0.0; width * height];
        data.par_chunks_exact_mut(width)
            .with_min_len(16)
            .enumerate()
            .for_each(|(y, out)| {
                for source in (2 * y..2 * y + 2).filter_map(|v| v.checked_sub(pad_y)) {
                    for (x, &value) in self.row(source).iter().enumerate() {
                        out[(x + pad_x) / 2] += 0.25 * value;
                    }
                }
            });
        Self { width, data }
    }
}

fn mirror(index: usize, side: usize) -> usize {
    let position = index % (2 * side);
    position.min(2 * side - 1 - position)
}
