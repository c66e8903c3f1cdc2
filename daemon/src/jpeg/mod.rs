//! JPEG as cameras send it.
//!
//! The decoder, zune-jpeg, believes what markers say: it paints what is missing, and misplaces planes that come one after the
//! other. So a file is taken apart first ([`parts`]) and handed to it again with what it needs and nothing else ([`rewrite`]).
//! Standard Huffman tables apply where there are none, as in motion JPEG, a missing end marker is no fault, and a
//! picture whose data end early is refused.

mod parts;
mod planes;
mod rewrite;
mod strip;

use std::panic::catch_unwind;

use image::{DynamicImage, RgbImage, metadata::Orientation};
use zune_jpeg::{
    JpegDecoder,
    errors::DecodeErrors,
    zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
};

use crate::one_line;

use self::{
    parts::{Layout, Parts, take_apart},
    planes::Plane,
};

/// Why a JPEG is not decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JpegError {
    /// The file ends before the picture is described.
    #[error("JPEG is truncated: {0}")]
    Truncated(&'static str),
    /// The data of the picture end early, or have a fault.
    #[error("JPEG is truncated or damaged: {0}")]
    Data(String),
    /// A header that cannot be.
    #[error("JPEG is damaged: {0}")]
    Damaged(&'static str),
    /// A kind of JPEG that is not decoded.
    #[error("JPEG with {0} is not supported")]
    Unsupported(String),
}

/// A JPEG whose headers have been read.
#[derive(Debug)]
pub struct Jpeg<'a>(Parts<'a>);

impl<'a> Jpeg<'a> {
    /// Reads the headers; nothing is decoded.
    ///
    /// # Errors
    /// [`JpegError`], by which no picture is there.
    pub fn new(bytes: &'a [u8]) -> Result<Self, JpegError> {
        take_apart(bytes).map(Self)
    }

    /// Width and height in pixels, upright.
    pub fn size(&self) -> (u32, u32) {
        let (width, height) = (self.0.width.into(), self.0.height.into());
        use Orientation as O;
        match self.0.orientation {
            O::Rotate90 | O::Rotate270 | O::Rotate90FlipH | O::Rotate270FlipH => (height, width),
            _ => (width, height),
        }
    }

    /// The pixels as RGB, 3 bytes each, row by row, upright as EXIF says.
    ///
    /// # Errors
    /// [`JpegError`] when the data are not those of a whole picture.
    pub fn decode(&self) -> Result<Vec<u8>, JpegError> {
        // The decoder is not ours, and damaged files make it panic.
        let pixels = catch_unwind(|| match self.0.layout {
            Layout::Together => picture(&rewrite::whole(&self.0)),
            Layout::Planar => self.planar(),
        });
        let gave_up = |_| Err(JpegError::Data("its decoder gave up".into()));
        let rgb = pixels.unwrap_or_else(gave_up)?;
        let (width, height) = (self.0.width.into(), self.0.height.into());
        let rgb = RgbImage::from_raw(width, height, rgb);
        let rgb = rgb.ok_or(JpegError::Damaged("its decoder gave another size"))?;
        let mut upright = DynamicImage::from(rgb);
        upright.apply_orientation(self.0.orientation);
        Ok(upright.into_rgb8().into_raw())
    }

    /// The file without metadata: no EXIF but the orientation, no thumbnail, no comment, no profile, nothing behind its end.
    /// `None` where the file has a form that it would lose.
    pub fn stripped(&self) -> Option<Vec<u8>> {
        strip::stripped(&self.0)
    }

    /// Each plane is a gray JPEG of its own.
    fn planar(&self) -> Result<Vec<u8>, JpegError> {
        let planes = (0..self.0.components.len()).map(|index| {
            let (width, height) = self.0.plane_size(index);
            let samples = samples(&rewrite::plane(&self.0, index), ColorSpace::Luma)?.0;
            let (across, down) = self.0.stretch(index);
            let plane = Plane::new(samples, width.into(), height.into());
            Ok(plane.stretched(across, down, self.0.width.into(), self.0.height.into()))
        });
        let planes = planes.collect::<Result<Vec<_>, JpegError>>()?;
        Ok(planes::interleave(&planes, self.0.rgb))
    }
}

/// Red, green and blue of a picture that the decoder understands.
fn picture(bytes: &[u8]) -> Result<Vec<u8>, JpegError> {
    let (samples, gray) = samples(bytes, ColorSpace::RGB)?;
    Ok(match gray {
        true => samples.iter().flat_map(|&gray| [gray; 3]).collect(),
        false => samples,
    })
}

/// Samples in `space`, or in gray, and whether that is so.
fn samples(bytes: &[u8], space: ColorSpace) -> Result<(Vec<u8>, bool), JpegError> {
    let told = |error: DecodeErrors| JpegError::Data(one_line(&error).replace('"', ""));
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(told)?;
    let gray = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let space = if gray { ColorSpace::Luma } else { space };
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    Ok((decoder.decode().map_err(told)?, gray))
}
