//! JPEG as cameras send it.
//!
//! The decoder, zune-jpeg, trusts the markers: it invents pixels for missing data, and misplaces planes that are stored
//! one after the other. So a file is first taken apart ([`parts`]) and then written again for the decoder, with the
//! parts that it needs and nothing else ([`rewrite`]). A file without Huffman tables, as motion JPEG has it, gets the
//! standard ones; a missing end marker is accepted; a picture whose data end early is refused.

mod error;
mod parts;
mod planes;
mod rewrite;
mod strip;

use std::panic::catch_unwind;

use image::RgbImage;
use zune_jpeg::{
    JpegDecoder,
    errors::DecodeErrors,
    zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
};

use crate::{
    text::one_line,
    upright::{upright, upright_size},
};

pub use self::error::JpegError;
use self::{
    parts::{Layout, Parts, take_apart},
    planes::Plane,
};

/// A JPEG whose headers have been read.
#[derive(Debug)]
pub struct Jpeg<'a>(Parts<'a>);

impl<'a> Jpeg<'a> {
    /// Reads the headers; nothing is decoded.
    ///
    /// # Errors
    /// [`JpegError`] when the headers do not describe a whole picture.
    pub fn new(bytes: &'a [u8]) -> Result<Self, JpegError> {
        take_apart(bytes).map(Self)
    }

    /// Width and height in pixels, upright.
    pub fn size(&self) -> (u32, u32) {
        let size = (self.0.width.into(), self.0.height.into());
        upright_size(size, self.0.orientation)
    }

    /// The pixels as RGB, width * height * 3 bytes, row by row, turned upright as EXIF says.
    ///
    /// # Errors
    /// [`JpegError`] when the data are not those of a whole picture.
    pub fn decode(&self) -> Result<Vec<u8>, JpegError> {
        // Damaged files make the decoder panic.
        let pixels = catch_unwind(|| match self.0.layout {
            Layout::Together => picture(&rewrite::whole(&self.0)),
            Layout::Planar => self.planar(),
        });
        let gave_up = |_| Err(JpegError::Data("its decoder gave up".into()));
        let rgb = pixels.unwrap_or_else(gave_up)?;
        let (width, height) = (self.0.width.into(), self.0.height.into());
        let rgb = RgbImage::from_raw(width, height, rgb);
        let rgb = rgb.ok_or(JpegError::Damaged("its decoder gave another size"))?;
        Ok(upright(rgb, self.0.orientation))
    }

    /// The file without metadata: EXIF has only the orientation; thumbnails, comments, profiles and bytes behind the
    /// end are left out. `None` for a planar file, whose order of scans would be lost.
    pub fn stripped(&self) -> Option<Vec<u8>> {
        strip::stripped(&self.0)
    }

    /// Decodes each plane as a gray JPEG of its own.
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

/// RGB of a JPEG that was written for the decoder.
fn picture(bytes: &[u8]) -> Result<Vec<u8>, JpegError> {
    let (samples, gray) = samples(bytes, ColorSpace::RGB)?;
    Ok(match gray {
        true => samples.iter().flat_map(|&gray| [gray; 3]).collect(),
        false => samples,
    })
}

/// Samples in `space`, or one gray sample per pixel for a gray picture; the flag tells which.
fn samples(bytes: &[u8], space: ColorSpace) -> Result<(Vec<u8>, bool), JpegError> {
    let damaged = |error: DecodeErrors| JpegError::Data(one_line(&error).replace('"', ""));
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(damaged)?;
    let gray = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let space = if gray { ColorSpace::Luma } else { space };
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    Ok((decoder.decode().map_err(damaged)?, gray))
}
