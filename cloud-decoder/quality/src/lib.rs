//! Image quality of a reconstruction: PSNR, SSIM, MS-SSIM and the visibility of patch seams.
//!
//! Images are 8-bit RGB, interleaved, row-major: `width * height * 3` bytes. PSNR looks at the three
//! channels; the other metrics look at luma, `0.299 R + 0.587 G + 0.114 B` (ITU-R BT.601),
//! never rounded to integers. Work is spread over the current rayon pool and every result is
//! independent of the number of threads.
#![forbid(unsafe_code)]

mod error;
mod image;
mod psnr;
mod seam;
mod ssim;

pub use error::QualityError;
use image::{Luma, check};

/// Side of a patch of the encoder, in pixels.
pub const PATCH: u32 = 32;

/// Shortest side, in pixels, for which MS-SSIM is defined: five scales of an 11-pixel window.
pub const MS_SSIM_MIN_SIDE: u32 = 11 << 4;

/// All metrics of one reconstruction against its original.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    /// See [`psnr`]; infinite when the images are equal.
    pub psnr_db: f64,
    /// See [`ssim`].
    pub ssim: f64,
    /// See [`ms_ssim`]; `None` when a side is below [`MS_SSIM_MIN_SIDE`].
    pub ms_ssim: Option<f64>,
    /// [`seam_ratio`] of the reconstruction at [`PATCH`]; `None` when no side exceeds one patch.
    pub seam_ratio: Option<f64>,
    /// The same of the original: the ratio of this scene without any coding.
    pub original_seam_ratio: Option<f64>,
}

/// Peak signal-to-noise ratio in dB, `10 log10(255^2 / MSE)`, the mean squared error being over all
/// pixels and the three channels. Infinite when the images are equal.
///
/// # Errors
/// [`QualityError::Empty`] or [`QualityError::Length`].
pub fn psnr(first: &[u8], second: &[u8], width: u32, height: u32) -> Result<f64, QualityError> {
    check_pair(first, second, width, height)?;
    Ok(psnr::psnr(first, second))
}

/// Structural similarity of luma, -1 to 1.
///
/// Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural
/// similarity", 2004: Gaussian window of 11 x 11 pixels with sigma 1.5, `K1` 0.01, `K2` 0.03, `L` 255,
/// population (not sample) covariance, and the mean over windows that lie fully inside the image. It is
/// scikit-image's `structural_similarity(gaussian_weights=True, sigma=1.5,
/// use_sample_covariance=False, data_range=255)` on the luma planes.
///
/// A side below 11 pixels, which scikit-image refuses, is first extended to 11 by mirroring.
///
/// # Errors
/// [`QualityError::Empty`] or [`QualityError::Length`].
pub fn ssim(first: &[u8], second: &[u8], width: u32, height: u32) -> Result<f64, QualityError> {
    check_pair(first, second, width, height)?;
    Ok(ssim::ssim(
        &Luma::new(first, width),
        &Luma::new(second, width),
    ))
}

/// Multi-scale structural similarity of luma, 0 to 1; `None` when a side is below
/// [`MS_SSIM_MIN_SIDE`].
///
/// Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality assessment", 2003:
/// five scales with exponents 0.0448, 0.2856, 0.3001, 0.2363 and 0.1333, the contrast-structure term at
/// all but the coarsest scale and full SSIM there, with the window and constants of [`ssim()`]. Between
/// scales comes a 2 x 2 mean, before which an odd side gets one zero in front; a negative mean term counts
/// as 0, which makes the result 0. Both follow the Python package `pytorch-msssim`.
///
/// # Errors
/// [`QualityError::Empty`] or [`QualityError::Length`].
pub fn ms_ssim(
    first: &[u8],
    second: &[u8],
    width: u32,
    height: u32,
) -> Result<Option<f64>, QualityError> {
    check_pair(first, second, width, height)?;
    if width.min(height) < MS_SSIM_MIN_SIDE {
        return Ok(None);
    }
    let similarity = ssim::similarities(Luma::new(first, width), Luma::new(second, width));
    Ok(Some(similarity.ms_ssim))
}

/// Visibility of patch seams: 1 when luma changes across patch borders as it does inside patches,
/// more when the borders show.
///
/// It is the mean absolute luma difference between the two pixels at either side of each patch border,
/// over the same mean half a patch further on, both pooled over the two directions. A direction without
/// a border inside the frame does not count; without any the answer is `None`. Means below 1/16 of a gray
/// level, far from visible, count as 1/16: the ratio is always finite, and 1 on a flat frame.
///
/// # Errors
/// [`QualityError::Empty`], [`QualityError::Length`], or [`QualityError::Patch`] below 2 pixels.
pub fn seam_ratio(
    rgb: &[u8],
    width: u32,
    height: u32,
    patch: u32,
) -> Result<Option<f64>, QualityError> {
    check("only", rgb, width, height)?;
    if patch < 2 {
        return Err(QualityError::Patch { patch });
    }
    Ok(seam::seam_ratio(rgb, width as usize, patch as usize))
}

/// All metrics of `reconstruction` against `original`, sharing what they have in common.
///
/// # Errors
/// [`QualityError::Empty`] or [`QualityError::Length`], `first` being the original.
pub fn measure(
    original: &[u8],
    reconstruction: &[u8],
    width: u32,
    height: u32,
) -> Result<Quality, QualityError> {
    check_pair(original, reconstruction, width, height)?;
    let (first, second) = (Luma::new(original, width), Luma::new(reconstruction, width));
    let seams = |rgb| seam::seam_ratio(rgb, width as usize, PATCH as usize);
    let (original_seam_ratio, seam_ratio) = (seams(original), seams(reconstruction));
    let (ssim, ms_ssim) = if width.min(height) < MS_SSIM_MIN_SIDE {
        (ssim::ssim(&first, &second), None)
    } else {
        let similarity = ssim::similarities(first, second);
        (similarity.ssim, Some(similarity.ms_ssim))
    };
    let psnr_db = psnr::psnr(original, reconstruction);
    Ok(Quality {
        psnr_db,
        ssim,
        ms_ssim,
        seam_ratio,
        original_seam_ratio,
    })
}

fn check_pair(first: &[u8], second: &[u8], width: u32, height: u32) -> Result<(), QualityError> {
    check("first", first, width, height)?;
    check("second", second, width, height)
}
