//! Pictures in and out: reading originals, writing reconstructions and thumbnails.

use std::io::Cursor;

use bytes::Bytes;
use daemon::jpeg::{Jpeg, JpegError};
use fast_image_resize::{
    FilterType as Kernel, ImageBufferError, PixelType, ResizeAlg, ResizeError, ResizeOptions,
    Resizer,
    images::{Image, ImageRef},
};
use image::{
    ExtendedColorType, ImageEncoder, ImageError, ImageFormat, ImageReader, Limits,
    codecs::png::{CompressionType, FilterType, PngEncoder},
    error::{LimitError, LimitErrorKind},
};
use jpeg_encoder::ColorType;

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

/// Why a picture could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Jpeg(#[from] JpegError),
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Another size than it should have.
    #[error("it is of {0}x{1} pixels")]
    Size(u32, u32),
}

/// Whether a media type is that of JPEG, which is read as edge nodes read it.
fn is_jpeg(media_type: &str) -> bool {
    ImageFormat::from_mime_type(media_type) == Some(ImageFormat::Jpeg)
}

/// Width and height that a picture's header gives, upright.
pub(crate) fn size(media_type: &str, data: &[u8]) -> Result<(u32, u32), ReadError> {
    if is_jpeg(media_type) {
        return Ok(Jpeg::new(data)?.size());
    }
    Ok(reader(media_type, data)?.into_dimensions()?)
}

/// Reads an original of the given size as RGB, 3 bytes a pixel.
pub(crate) fn read(
    media_type: &str,
    data: &[u8],
    width: u32,
    height: u32,
) -> Result<Vec<u8>, ReadError> {
    if is_jpeg(media_type) {
        let jpeg = Jpeg::new(data)?;
        return match jpeg.size() {
            size if size == (width, height) => Ok(jpeg.decode()?),
            (width, height) => Err(ReadError::Size(width, height)),
        };
    }
    let webp = ImageFormat::from_mime_type(media_type) == Some(ImageFormat::WebP);
    if webp && !daemon::webp::frames_fit(data, width, height) {
        let kind = LimitErrorKind::DimensionError;
        return Err(ImageError::Limits(LimitError::from_kind(kind)).into());
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

/// Why a picture could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error(transparent)]
    Png(#[from] ImageError),
    #[error(transparent)]
    Small(#[from] ImageBufferError),
    #[error(transparent)]
    Resize(#[from] ResizeError),
    #[error(transparent)]
    Jpeg(#[from] jpeg_encoder::EncodingError),
}

/// An RGB picture as PNG, quickly. Paeth's filter alone leaves within half a percent of the bytes that the best filter of each row does, of
/// what the decoders rebuild of the sample photographs; to try them all takes as long again.
pub(crate) fn png(rgb: &[u8], width: u32, height: u32) -> Result<Bytes, WriteError> {
    let mut bytes = Vec::new();
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Paeth)
        .write_image(rgb, width, height, ExtendedColorType::Rgb8)?;
    Ok(bytes.into())
}

/// An RGB picture in small as JPEG; one that is small already keeps its size.
pub(crate) fn small_jpeg(rgb: &[u8], width: u32, height: u32) -> Result<Bytes, WriteError> {
    let scale = (f64::from(THUMBNAIL_SIDE) / f64::from(width.max(height))).min(1.0);
    let side = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
    let picture = ImageRef::new(width, height, rgb, PixelType::U8x3)?;
    let mut small = Image::new(side(width), side(height), PixelType::U8x3);
    // Half the time of Lanczos' kernel, which looks the same at this size.
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
