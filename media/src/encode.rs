//! RGB pixels to lossless files.

use image::{
    ExtendedColorType, ImageEncoder as _, ImageError,
    codecs::{png::PngEncoder, webp::WebPEncoder},
};

/// Longest side of a WebP that all decoders take, in pixels.
const MAX_WEBP_SIDE: u32 = 16_383;

/// The media type and bytes of a lossless file: WebP, which has half the bytes of PNG in half the time, or PNG where a
/// side is too long for WebP. `rgb` has width * height * 3 bytes.
///
/// # Errors
/// [`ImageError`] when `rgb` does not have the length that the size needs.
pub fn lossless(
    rgb: &[u8],
    width: u32,
    height: u32,
) -> Result<(&'static str, Vec<u8>), ImageError> {
    let mut file = Vec::new();
    if width.max(height) > MAX_WEBP_SIDE {
        PngEncoder::new(&mut file).write_image(rgb, width, height, ExtendedColorType::Rgb8)?;
        return Ok(("image/png", file));
    }
    let webp = WebPEncoder::new_lossless(&mut file);
    webp.write_image(rgb, width, height, ExtendedColorType::Rgb8)?;
    Ok(("image/webp", file))
}
