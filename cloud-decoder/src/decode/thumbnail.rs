//! Thumbnails.

use bytes::Bytes;
use fast_image_resize::{
    FilterType as Kernel, ImageBufferError, PixelType, ResizeAlg, ResizeError, ResizeOptions,
    Resizer,
    images::{Image, ImageRef},
};
use jpeg_encoder::ColorType;

/// Longest side of a thumbnail in pixels.
const THUMBNAIL_SIDE: u32 = 512;
const THUMBNAIL_QUALITY: u8 = 82;

/// Why a picture could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error(transparent)]
    Png(#[from] media::ImageError),
    #[error(transparent)]
    Small(#[from] ImageBufferError),
    #[error(transparent)]
    Resize(#[from] ResizeError),
    #[error(transparent)]
    Jpeg(#[from] jpeg_encoder::EncodingError),
}

/// An RGB picture as a small JPEG; one that is small already keeps its size.
pub(super) fn thumbnail(rgb: &[u8], width: u32, height: u32) -> Result<Bytes, WriteError> {
    let scale = (f64::from(THUMBNAIL_SIDE) / f64::from(width.max(height))).min(1.0);
    let side = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
    let picture = ImageRef::new(width, height, rgb, PixelType::U8x3)?;
    let mut small = Image::new(side(width), side(height), PixelType::U8x3);
    // Half the time of Lanczos' kernel, and no visible difference at this size.
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(Kernel::CatmullRom));
    Resizer::new().resize(&picture, &mut small, &options)?;
    let mut bytes = Vec::new();
    // A side is at most THUMBNAIL_SIDE.
    let (width, height) = (small.width() as u16, small.height() as u16);
    jpeg_encoder::Encoder::new(&mut bytes, THUMBNAIL_QUALITY).encode(
        small.buffer(),
        width,
        height,
        ColorType::Rgb,
    )?;
    Ok(bytes.into())
}
