//! From the bytes of a request to RGB pixels.
//!
//! The content-type names the format and the bytes must agree with it. Nothing is decoded before
//! the size in the header passed the limits. Alpha is dropped, not blended; gray is repeated in
//! all three channels; 16-bit samples are rounded to 8; of an animation the first frame counts. Pictures are
//! turned upright as EXIF says. Colour profiles are not applied.

use std::{io::Cursor, panic::catch_unwind};

use bytes::Bytes;
use daemon::{
    jpeg::{Jpeg, JpegError},
    one_line, webp,
};
use image::{
    DynamicImage, ExtendedColorType, ImageDecoder as _, ImageEncoder as _, ImageError, ImageFormat,
    ImageReader, Limits,
    codecs::{png::PngEncoder, webp::WebPEncoder},
    metadata::Orientation,
};
use patchwire_proto::{limits::MAX_SIDE, v1::Original};

/// Content types, also by the names that they have in old programs and in cameras, and what they stand for; `None` is raw RGB.
const TYPES: [(&str, Option<ImageFormat>); 18] = [
    ("image/png", Some(ImageFormat::Png)),
    ("image/x-png", Some(ImageFormat::Png)),
    ("image/apng", Some(ImageFormat::Png)),
    ("image/jpeg", Some(ImageFormat::Jpeg)),
    ("image/jpg", Some(ImageFormat::Jpeg)),
    ("image/pjpeg", Some(ImageFormat::Jpeg)),
    ("image/pjpg", Some(ImageFormat::Jpeg)),
    ("image/x-jpeg", Some(ImageFormat::Jpeg)),
    ("image/x-jpg", Some(ImageFormat::Jpeg)),
    ("image/jfif", Some(ImageFormat::Jpeg)),
    ("image/webp", Some(ImageFormat::WebP)),
    ("image/x-webp", Some(ImageFormat::WebP)),
    ("image/x-portable-pixmap", Some(ImageFormat::Pnm)),
    ("image/x-portable-anymap", Some(ImageFormat::Pnm)),
    ("image/x-portable-graymap", Some(ImageFormat::Pnm)),
    ("image/x-portable-bitmap", Some(ImageFormat::Pnm)),
    ("image/x-portable-arbitrarymap", Some(ImageFormat::Pnm)),
    ("application/octet-stream", None),
];
const ALLOWED: &str = "image/png, image/jpeg, image/webp, image/x-portable-pixmap, \
                       or application/octet-stream for raw RGB";

/// Longest side of a WebP that all decoders take.
const MAX_WEBP_SIDE: u32 = 16_383;
/// Most bytes of colour profiles and texts in a file, unpacked.
const METADATA_BYTES: u64 = 16 << 20;

/// A frame as the encoder takes it.
#[derive(Debug)]
pub struct Frame {
    /// Red, green, blue, row by row: width * height * 3 bytes.
    pub rgb: Vec<u8>,
    /// In pixels, 1 to [`MAX_SIDE`].
    pub width: u32,
    /// In pixels, 1 to [`MAX_SIDE`].
    pub height: u32,
    /// Format and decoder of the camera's bytes, as it travels with the frame.
    pub source_format: &'static str,
}

/// Why a body is not a frame.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// No content-type.
    #[error("content-type is missing, allowed are {ALLOWED}")]
    NoType,
    /// A content-type that is not taken.
    #[error("content-type {0:?} is not supported, allowed are {ALLOWED}")]
    Type(String),
    /// The bytes are something else than the content-type says.
    #[error("content-type says {claimed}, but the body is {found}")]
    Mismatch {
        /// The content-type.
        claimed: &'static str,
        /// What the bytes look like.
        found: &'static str,
    },
    /// No body.
    #[error("body is empty, a frame was expected")]
    Empty,
    /// Raw RGB without its size.
    #[error("raw RGB needs the headers x-frame-width and x-frame-height, each 1 to {MAX_SIDE}")]
    RawSize,
    /// Raw RGB of another length than its size says.
    #[error("raw RGB of {width}x{height} pixels is {expected} bytes long, the body has {actual}")]
    RawLength {
        /// Width from the header in pixels.
        width: u32,
        /// Height from the header in pixels.
        height: u32,
        /// Bytes that the size needs.
        expected: u64,
        /// Bytes given.
        actual: usize,
    },
    /// No pixels.
    #[error("frame of {0}x{1} pixels has no pixels, each side must be 1 to {MAX_SIDE}")]
    NoPixels(u32, u32),
    /// A side too long.
    #[error("frame of {0}x{1} pixels has a side longer than {MAX_SIDE}")]
    Side(u32, u32),
    /// Too many pixels.
    #[error("frame of {width}x{height} pixels has more than {max} pixels")]
    Pixels {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Most pixels allowed.
        max: u64,
    },
    /// Profiles and texts that take too much memory.
    #[error("{0} carries more than {METADATA_BYTES} bytes of metadata")]
    Metadata(&'static str),
    /// A WebP with a frame that takes more memory than its size says.
    #[error("WebP has a frame that is larger than its canvas of {0}x{1} pixels")]
    Canvas(u32, u32),
    /// A JPEG that is no whole picture.
    #[error(transparent)]
    Jpeg(#[from] JpegError),
    /// The decoder gave up.
    #[error("{0} cannot be decoded: {1}")]
    Damaged(&'static str, String),
}

/// Decodes a body. `raw_size` is width and height from the headers, used for raw RGB alone.
///
/// # Errors
/// [`IntakeError`], whose text is the sentence that the client is told.
pub fn decode(
    body: &Bytes,
    content_type: Option<&str>,
    raw_size: Option<(u32, u32)>,
    max_pixels: u64,
) -> Result<Frame, IntakeError> {
    let given = content_type.ok_or(IntakeError::NoType)?;
    let essence = given
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let Some(&(claimed, format)) = TYPES.iter().find(|(name, _)| *name == essence) else {
        return Err(IntakeError::Type(given.chars().take(80).collect()));
    };
    if body.is_empty() {
        return Err(IntakeError::Empty);
    }
    match format {
        None => match (raw_size, image::guess_format(body)) {
            (Some(size), _) => raw(body, size, max_pixels),
            (None, Ok(found)) => Err(IntakeError::Mismatch {
                claimed,
                found: name(found),
            }),
            (None, Err(_)) => Err(IntakeError::RawSize),
        },
        Some(format) => {
            let found = image::guess_format(body).ok();
            if found != Some(format) {
                let found = found.map_or("of no known image format", name);
                return Err(IntakeError::Mismatch { claimed, found });
            }
            if format == ImageFormat::Jpeg {
                return jpeg(body, max_pixels);
            }
            // Decoders are not ours, and damaged files make some panic.
            catch_unwind(|| compressed(body, format, max_pixels)).unwrap_or_else(|_| {
                let told = "its decoder gave up".to_owned();
                Err(IntakeError::Damaged(name(format), told))
            })
        }
    }
}

/// The content type of an image by its first bytes.
///
/// # Errors
/// A sentence that says what it is, or that it is none.
pub fn media_type(body: &[u8]) -> Result<&'static str, String> {
    use ImageFormat as F;
    const TAKEN: &str = "PNG, JPEG, WebP and PPM are taken";
    match image::guess_format(body) {
        Ok(format @ (F::Png | F::Jpeg | F::WebP | F::Pnm)) => Ok(format.to_mime_type()),
        Ok(other) => Err(format!("it is {}, {TAKEN}", other.to_mime_type())),
        Err(_) => Err(format!("it is no image, {TAKEN}")),
    }
}

fn raw(body: &Bytes, (width, height): (u32, u32), max_pixels: u64) -> Result<Frame, IntakeError> {
    check_size(width, height, max_pixels)?;
    let expected = u64::from(width) * u64::from(height) * 3;
    if body.len() as u64 != expected {
        return Err(IntakeError::RawLength {
            width,
            height,
            expected,
            actual: body.len(),
        });
    }
    Ok(Frame {
        rgb: body.to_vec(),
        width,
        height,
        source_format: "raw",
    })
}

fn compressed(body: &Bytes, format: ImageFormat, max_pixels: u64) -> Result<Frame, IntakeError> {
    let told = |error| match error {
        ImageError::Limits(_) => IntakeError::Metadata(name(format)),
        error => IntakeError::Damaged(name(format), one_line(&error)),
    };
    // Bounds what a decoder unpacks beside the pixels; those are bounded by `check_size`.
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(METADATA_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(body), format);
    reader.limits(limits);
    // Reads the header alone.
    let mut decoder = reader.into_decoder().map_err(told)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, max_pixels)?;
    if format == ImageFormat::WebP && !webp::frames_fit(body, width, height) {
        return Err(IntakeError::Canvas(width, height));
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let image = DynamicImage::from_decoder(decoder).map_err(told)?;
    let mut upright = DynamicImage::from(image.into_rgb8());
    upright.apply_orientation(orientation);
    Ok(Frame {
        width: upright.width(),
        height: upright.height(),
        rgb: upright.into_rgb8().into_raw(),
        source_format: source_format(format),
    })
}

fn jpeg(body: &Bytes, max_pixels: u64) -> Result<Frame, IntakeError> {
    let jpeg = Jpeg::new(body)?;
    let (width, height) = jpeg.size();
    check_size(width, height, max_pixels)?;
    Ok(Frame {
        rgb: jpeg.decode()?,
        width,
        height,
        source_format: source_format(ImageFormat::Jpeg),
    })
}

fn check_size(width: u32, height: u32, max: u64) -> Result<(), IntakeError> {
    if width == 0 || height == 0 {
        return Err(IntakeError::NoPixels(width, height));
    }
    if width > MAX_SIDE || height > MAX_SIDE {
        return Err(IntakeError::Side(width, height));
    }
    if u64::from(width) * u64::from(height) > max {
        return Err(IntakeError::Pixels { width, height, max });
    }
    Ok(())
}

/// The frame's pixels as lossless WebP, half the bytes of PNG in half the time; as PNG where a side is too long for WebP.
///
/// # Errors
/// None for a frame that [`decode`] returned.
pub fn lossless(frame: &Frame) -> Result<Original, ImageError> {
    let mut data = Vec::new();
    let (rgb, width, height) = (&frame.rgb, frame.width, frame.height);
    let media_type = if width.max(height) > MAX_WEBP_SIDE {
        PngEncoder::new(&mut data).write_image(rgb, width, height, ExtendedColorType::Rgb8)?;
        "image/png"
    } else {
        let webp = WebPEncoder::new_lossless(&mut data);
        webp.write_image(rgb, width, height, ExtendedColorType::Rgb8)?;
        "image/webp"
    };
    Ok(Original {
        media_type: media_type.into(),
        data: data.into(),
        rgb_crc32c: None,
    })
}

fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::WebP => "WebP",
        ImageFormat::Pnm => "PPM",
        _ => "of an unsupported image format",
    }
}

/// JPEG decoders differ by a step or two, so which one it was travels with the frame.
fn source_format(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Jpeg => "jpeg (zune-jpeg 0.5)",
        ImageFormat::Png => "png (png 0.18)",
        ImageFormat::WebP => "webp (image-webp 0.2)",
        _ => "pnm (image 0.25)",
    }
}
