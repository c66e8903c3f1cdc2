//! The figures of one picture, and their means over a folder or a video.

use anyhow::Result;
use serde::Serialize;

use super::means::mean;
use super::wire::Wire;
use crate::frames::Frame;

/// One image. A figure that is not defined for it is null: PSNR of an equal image, MS-SSIM of one
/// with a side under 176 pixels, the seam ratios of one without a patch border inside.
#[derive(Serialize)]
pub(super) struct ImageFigures {
    pub(super) name: String,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) bpp: f64,
    /// Of our latents only.
    #[serde(flatten)]
    pub(super) wire: Option<Wire>,
    pub(super) psnr_db: Option<f64>,
    pub(super) ssim: f64,
    pub(super) ms_ssim: Option<f64>,
    pub(super) seam_ratio: Option<f64>,
    /// The seam ratio of the original.
    pub(super) original_seam_ratio: Option<f64>,
}

impl ImageFigures {
    /// `rebuilt` against `frame`: RGB rows of the same size.
    pub(super) fn of(frame: &Frame, rebuilt: &[u8], bpp: f64, wire: Option<Wire>) -> Result<Self> {
        let quality = quality::measure(&frame.rgb, rebuilt, frame.width, frame.height)?;
        Ok(Self {
            name: frame.name.clone(),
            width: frame.width,
            height: frame.height,
            bpp,
            wire,
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
    #[serde(flatten)]
    pub(super) wire: Option<Wire>,
    pub(super) psnr_db: Option<f64>,
    pub(super) ssim: Option<f64>,
    pub(super) ms_ssim: Option<f64>,
    pub(super) seam_ratio: Option<f64>,
}

impl MeanFigures {
    pub(super) fn of(images: &[ImageFigures]) -> Self {
        Self {
            bpp: mean(images.iter().map(|i| Some(i.bpp))),
            wire: Wire::mean(images.iter().map(|i| i.wire)),
            psnr_db: mean(images.iter().map(|i| i.psnr_db)),
            ssim: mean(images.iter().map(|i| Some(i.ssim))),
            ms_ssim: mean(images.iter().map(|i| i.ms_ssim)),
            seam_ratio: mean(images.iter().map(|i| i.seam_ratio)),
        }
    }
}
