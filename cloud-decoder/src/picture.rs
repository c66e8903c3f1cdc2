//! Pictures in and out: reading originals, writing reconstructions and thumbnails.

use std::io::Cursor;

use bytes::Bytes;
use image::{
    DynamicImage, ExtendedColorType, ImageEncoder, ImageError, ImageFormat, ImageReader, Limits,
    RgbImage,
    codecs::{
        jpeg::JpegEncoder,
        png::{CompressionType, FilterType, PngEncoder},
    },
    error::{LimitError, LimitErrorKind},
    imageops::thumbnail,
};

/// Longest side of a thumbnail in pixels.
const THUMBNAIL_SIDE: u32 = 512;
const THUMBNAIL_QUALITY: u8 = 82;

fn reader<'a>(
    media_type: &str,
    data: &'a [u8],
) -> Result<ImageReader<Cursor<&'a [u8]>>, ImageError> {
    let mut reader = ImageReader::new(Cursor::new(data));
    if let Some(format) = ImageFormat::from_mime_type(media_type) {
        reader.set_format(format);
    }
    Ok(reader)
}

/// Width and height that a picture's header gives.
pub(crate) fn size(media_type: &str, data: &[u8]) -> Result<(u32, u32), ImageError> {
    reader(media_type, data)?.into_dimensions()
}

/// Reads an original of the given size as RGB, 3 bytes a pixel.
pub(crate) fn read(
    media_type: &str,
    data: &[u8],
    width: u32,
    height: u32,
) -> Result<Vec<u8>, ImageError> {
    let webp = ImageFormat::from_mime_type(media_type) == Some(ImageFormat::WebP);
    if webp && !daemon::webp::frames_fit(data, width, height) {
        let kind = LimitErrorKind::DimensionError;
        return Err(ImageError::Limits(LimitError::from_kind(kind)));
    }
    let mut reader = reader(media_type, data)?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(width);
    limits.max_image_height = Some(height);
    // 16-bit RGBA is the widest pixel there is; decoders need some rows beside the image.
    limits.max_alloc = Some(u64::from(width) * u64::from(height) * 8 + (16 << 20));
    reader.limits(limits);
    Ok(reader.decode()?.into_rgb8().into_raw())
}

/// An RGB picture as PNG, quickly.
pub(crate) fn png(picture: &RgbImage) -> Result<Bytes, ImageError> {
    let mut bytes = Vec::new();
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive)
        .write_image(
            picture,
            picture.width(),
            picture.height(),
            ExtendedColorType::Rgb8,
        )?;
    Ok(bytes.into())
}

/// An RGB picture in small as JPEG; one that is small already keeps its size.
pub(crate) fn small_jpeg(picture: &RgbImage) -> Result<Bytes, ImageError> {
    let (width, height) = picture.dimensions();
    let scale = f64::from(THUMBNAIL_SIDE) / f64::from(width.max(height));
    let side = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
    let small = match scale < 1.0 {
        true => &thumbnail(picture, side(width), side(height)),
        false => picture,
    };
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, THUMBNAIL_QUALITY);
    DynamicImage::from(small.clone()).write_with_encoder(encoder)?;
    Ok(bytes.into())
}
