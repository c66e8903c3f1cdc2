//! Files to RGB pixels.
//!
//! The content type names the format and the bytes must agree with it. Nothing is decoded before the size in the header
//! has passed the limits. Alpha is dropped, not blended; gray is repeated in all three channels; 16-bit samples are
//! rounded to 8; of an animation the first frame is taken. Pictures are turned upright as EXIF says. Colour profiles
//! are not applied.

use std::{
    io::Cursor,
    panic::{AssertUnwindSafe, catch_unwind},
};

use image::{
    DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, metadata::Orientation,
};

use crate::{
    format::{name, of_bytes, of_type, source_format},
    jpeg::{Jpeg, JpegError},
    picture::{Limits, Picture},
    text::one_line,
    upright::{upright, upright_size},
    webp,
};

const ALLOWED: &str = "image/png, image/jpeg, image/webp, image/x-portable-pixmap, \
                       or application/octet-stream for raw RGB";
/// Most bytes of colour profiles and texts in a file, unpacked.
pub(crate) const METADATA_BYTES: u64 = 16 << 20;

/// Why a file is not decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// No content type.
    #[error("content-type is missing, allowed are {ALLOWED}")]
    NoType,
    /// A content type that is not supported.
    #[error("content-type {0:?} is not supported, allowed are {ALLOWED}")]
    Type(String),
    /// The bytes are of another format than the content type says.
    #[error("content-type says {claimed}, but the body is {found}")]
    Mismatch {
        /// The content type.
        claimed: &'static str,
        /// The format that the bytes have.
        found: &'static str,
    },
    /// No bytes.
    #[error("body is empty, a frame was expected")]
    Empty,
    /// Raw RGB without its size; the longest side that is allowed.
    #[error("raw RGB needs the headers x-frame-width and x-frame-height, each 1 to {0}")]
    RawSize(u32),
    /// Raw RGB of another length than its size needs: width, height, bytes needed, bytes given.
    #[error("raw RGB of {0}x{1} pixels is {2} bytes long, the body has {3}")]
    RawLength(u32, u32, u64, usize),
    /// A side of 0 pixels: width, height, longest side allowed.
    #[error("frame of {0}x{1} pixels has no pixels, each side must be 1 to {2}")]
    NoPixels(u32, u32, u32),
    /// A side too long: width, height, longest side allowed.
    #[error("frame of {0}x{1} pixels has a side longer than {2}")]
    Side(u32, u32, u32),
    /// Too many pixels: width, height, most pixels allowed.
    #[error("frame of {0}x{1} pixels has more than {2} pixels")]
    Pixels(u32, u32, u64),
    /// Another size than was expected.
    #[error("it is of {0}x{1} pixels")]
    Size(u32, u32),
    /// Profiles and texts that take too much memory.
    #[error("{0} carries more than {METADATA_BYTES} bytes of metadata")]
    Metadata(&'static str),
    /// A WebP whose frame takes more memory than its size says.
    #[error("WebP has a frame that is larger than its canvas of {0}x{1} pixels")]
    Canvas(u32, u32),
    /// A JPEG that is not a whole picture.
    #[error(transparent)]
    Jpeg(#[from] JpegError),
    /// The decoder failed.
    #[error("{0} cannot be decoded: {1}")]
    Damaged(&'static str, String),
}

/// Decodes a file whose format `content_type` names. `raw_size` is the width and height of raw RGB in pixels.
///
/// # Errors
/// [`DecodeError`], whose text is one sentence.
pub fn decode(
    file: &[u8],
    content_type: Option<&str>,
    raw_size: Option<(u32, u32)>,
    limits: Limits,
) -> Result<Picture, DecodeError> {
    let content_type = content_type.ok_or(DecodeError::NoType)?;
    let (claimed, format) = of_type(content_type).ok_or_else(|| unsupported(content_type))?;
    if file.is_empty() {
        return Err(DecodeError::Empty);
    }
    if let Some(format) = format {
        check_format(file, claimed, format)?;
        return Opened::new(file, format)?.decode(limits);
    }
    match (raw_size, of_bytes(file)) {
        (Some(size), _) => raw(file, size, limits),
        (None, Some(found)) => Err(DecodeError::Mismatch {
            claimed,
            found: name(found),
        }),
        (None, None) => Err(DecodeError::RawSize(limits.max_side)),
    }
}

/// Decodes a file that must be `width` by `height` pixels, to red, green, blue, row by row.
///
/// # Errors
/// [`DecodeError`]; [`DecodeError::Size`] for a file of another size, before it is decoded.
pub fn decode_as(
    file: &[u8],
    media_type: &str,
    (width, height): (u32, u32),
) -> Result<Vec<u8>, DecodeError> {
    let opened = open(file, media_type)?;
    if opened.size != (width, height) {
        return Err(DecodeError::Size(opened.size.0, opened.size.1));
    }
    Ok(opened.decode(Limits::NONE)?.rgb)
}

/// Width and height in pixels that a file's header gives, upright.
///
/// # Errors
/// [`DecodeError`] when there is no usable header.
pub fn size(file: &[u8], media_type: &str) -> Result<(u32, u32), DecodeError> {
    Ok(open(file, media_type)?.size)
}

fn open<'a>(file: &'a [u8], media_type: &str) -> Result<Opened<'a>, DecodeError> {
    let (claimed, format) = of_type(media_type).ok_or_else(|| unsupported(media_type))?;
    let format = format.ok_or_else(|| unsupported(media_type))?;
    check_format(file, claimed, format)?;
    Opened::new(file, format)
}

/// A file whose header has been read.
struct Opened<'a> {
    file: &'a [u8],
    format: ImageFormat,
    /// Width and height in pixels, upright.
    size: (u32, u32),
    decoder: Decoder<'a>,
}

enum Decoder<'a> {
    Jpeg(Jpeg<'a>),
    Other(Box<dyn ImageDecoder + 'a>, Orientation),
}

impl<'a> Opened<'a> {
    fn new(file: &'a [u8], format: ImageFormat) -> Result<Self, DecodeError> {
        let (size, decoder) = if format == ImageFormat::Jpeg {
            let jpeg = Jpeg::new(file)?;
            (jpeg.size(), Decoder::Jpeg(jpeg))
        } else {
            guarded(format, || other(file, format))?
        };
        Ok(Self {
            file,
            format,
            size,
            decoder,
        })
    }

    fn decode(self, limits: Limits) -> Result<Picture, DecodeError> {
        let (width, height) = self.size;
        check_size(width, height, limits)?;
        let rgb = match self.decoder {
            Decoder::Jpeg(jpeg) => jpeg.decode()?,
            Decoder::Other(decoder, orientation) => guarded(self.format, || {
                let (width, height) = decoder.dimensions();
                if self.format == ImageFormat::WebP && !webp::frames_fit(self.file, width, height) {
                    return Err(DecodeError::Canvas(width, height));
                }
                let image = DynamicImage::from_decoder(decoder);
                let image = image.map_err(|error| foreign(self.format, error))?;
                Ok(upright(image.into_rgb8(), orientation))
            })?,
        };
        Ok(Picture {
            rgb,
            width,
            height,
            source_format: source_format(self.format),
        })
    }
}

/// Reads the header of a file that is not JPEG.
fn other(file: &[u8], format: ImageFormat) -> Result<((u32, u32), Decoder<'_>), DecodeError> {
    // Bounds the memory that a decoder takes besides the pixels, which `check_size` bounds.
    let mut limits = image::Limits::no_limits();
    limits.max_alloc = Some(METADATA_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(file), format);
    reader.limits(limits);
    let decoder = reader.into_decoder();
    let mut decoder = decoder.map_err(|error| foreign(format, error))?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let size = upright_size(decoder.dimensions(), orientation);
    Ok((size, Decoder::Other(Box::new(decoder), orientation)))
}

/// Calls a decoder of `image`, some of which panic on damaged files.
fn guarded<T>(
    format: ImageFormat,
    call: impl FnOnce() -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let gave_up = |_| {
        let reason = "its decoder gave up".to_owned();
        Err(DecodeError::Damaged(name(format), reason))
    };
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(gave_up)
}

fn raw(file: &[u8], (width, height): (u32, u32), limits: Limits) -> Result<Picture, DecodeError> {
    check_size(width, height, limits)?;
    let expected = u64::from(width) * u64::from(height) * 3;
    if file.len() as u64 != expected {
        let actual = file.len();
        return Err(DecodeError::RawLength(width, height, expected, actual));
    }
    Ok(Picture {
        rgb: file.to_vec(),
        width,
        height,
        source_format: "raw",
    })
}

fn check_format(
    file: &[u8],
    claimed: &'static str,
    format: ImageFormat,
) -> Result<(), DecodeError> {
    let found = of_bytes(file);
    if found == Some(format) {
        return Ok(());
    }
    let found = found.map_or("of no known image format", name);
    Err(DecodeError::Mismatch { claimed, found })
}

fn check_size(width: u32, height: u32, limits: Limits) -> Result<(), DecodeError> {
    let max_side = limits.max_side;
    if width == 0 || height == 0 {
        return Err(DecodeError::NoPixels(width, height, max_side));
    }
    if width.max(height) > max_side {
        return Err(DecodeError::Side(width, height, max_side));
    }
    if u64::from(width) * u64::from(height) > limits.max_pixels {
        return Err(DecodeError::Pixels(width, height, limits.max_pixels));
    }
    Ok(())
}

fn unsupported(content_type: &str) -> DecodeError {
    DecodeError::Type(content_type.chars().take(80).collect())
}

fn foreign(format: ImageFormat, error: ImageError) -> DecodeError {
    match error {
        ImageError::Limits(_) => DecodeError::Metadata(name(format)),
        error => DecodeError::Damaged(name(format), one_line(&error)),
    }
}
