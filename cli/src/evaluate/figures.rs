//! The figures of one picture, and their means over a folder.

use anyhow::Result;
use serde::Serialize;

use crate::frames::Frame;

/// One image. A figure that is not defined for it is null: PSNR of an equal image, MS-SSIM of one
/// with a side under 176 pixels, the seam ratios of one without a patch border inside.
#[derive(Serialize)]
pub(super) struct ImageFigures {
    pub(super) name: String,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) bpp: f64,
    pub(super) psnr_db: Option<f64>,
    pub(super) ssim: f64,
    pub(super) ms_ssim: Option<f64>,
    pub(super) seam_ratio: Option<f64>,
    /// The seam ratio of the original.
    pub(super) original_seam_ratio: Option<f64>,
}

impl ImageFigures {
    /// `rebuilt` against `frame`: RGB rows of the same size.
    pub(super) fn of(frame: &Frame, rebuilt: &[u8], bpp: f64) -> Result<Self> {
        let quality = quality::measure(&frame.rgb, rebuilt, frame.width, frame.height)?;
        Ok(Self {
            name: frame.name.clone(),
            width: frame.width,
            height: frame.height,
            bpp,
            psnr_db: quality.psnr_db.is_finite().then_some(quality.psnr_db),
            ssim: quality.ssim,
            ms_ssim: quality.ms_ssim,
            seam_ratio: quality.seam_ratio,
            original_seam_ratio: quality.original_seam_ratio,
        })
    }
}

/// Means over the images for which a figure is defined.
#[derive(Clone, Serialize)]
pub(super) struct MeanFigures {
    pub(super) bpp: Option<f64>,
    pub(super) psnr_db: Option<f64>,
    pub(super) ssim: Option<f64>,
    pub(super) ms_ssim: Option<f64>,
    pub(super) seam_ratio: Option<f64>,
}

impl MeanFigures {
    pub(super) fn of(images: &[ImageFigures]) -> Self {
        Self {
            bpp: mean(images.iter().map(|i| Some(i.bpp))),
            psnr_db: mean(images.iter().map(|i| i.psnr_db)),
            ssim: mean(images.iter().map(|i| Some(i.ssim))),
            ms_ssim: mean(images.iter().map(|i| i.ms_ssim)),
            seam_ratio: mean(images.iter().map(|i| i.seam_ratio)),
        }
    }
}

/// The mean of the values that are there.
pub(super) fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let defined: Vec<f64> = values.flatten().collect();
    (!defined.is_empty()).then(|| defined.iter().sum::<f64>() / defined.len() as f64)
}
