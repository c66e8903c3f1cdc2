//! Images of the demo's cameras: the shipped sample photographs, or the user's.

use std::borrow::Cow;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use image::imageops::FilterType;
use image::{ImageReader, RgbImage};
use rust_embed::RustEmbed;

use crate::frames::MAX_FILE_BYTES;
use crate::frames::{self, file_name, read_bounded};

/// The cameras, in turn.
const CAMERAS: [&str; 4] = ["gate-north", "yard-east", "dock-2", "roof-west"];

#[derive(RustEmbed)]
#[folder = "samples/"]
struct Samples;

/// An image file as one camera's frame.
pub(super) struct Shot {
    pub(super) name: String,
    pub(super) camera: &'static str,
    /// Where the file is; none for a sample.
    path: Option<PathBuf>,
}

impl Shot {
    /// The file's bytes.
    pub(super) fn image(&self) -> Result<Cow<'static, [u8]>> {
        match &self.path {
            Some(path) => Ok(read_bounded(path, MAX_FILE_BYTES)?.into()),
            None => Ok(Samples::get(&self.name)
                .with_context(|| format!("there is no sample {}", self.name))?
                .data),
        }
    }
}

/// The frames of one pass, sorted by name.
pub(super) fn shots(folder: Option<&Path>) -> Result<Vec<Shot>> {
    let files: Vec<(String, Option<PathBuf>)> = match folder {
        Some(folder) => frames::list(folder)?
            .into_iter()
            .map(|path| (file_name(&path), Some(path)))
            .collect(),
        None => Samples::iter()
            .filter(|name| name.ends_with(".jpg"))
            .map(|name| (name.into_owned(), None))
            .collect(),
    };
    Ok(files
        .into_iter()
        .zip(CAMERAS.into_iter().cycle())
        .map(|((name, path), camera)| Shot { name, camera, path })
        .collect())
}

/// The sample photographs, of this size.
pub(crate) fn samples(width: u32, height: u32) -> Result<impl Iterator<Item = Result<RgbImage>>> {
    let shots = shots(None)?;
    Ok(shots.into_iter().map(move |shot| {
        let photograph = ImageReader::new(Cursor::new(shot.image()?))
            .with_guessed_format()?
            .decode()
            .context("a sample photograph does not decode")?;
        let resized = photograph.resize_exact(width, height, FilterType::Triangle);
        Ok(resized.into_rgb8())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_are_eight_photographs_on_four_cameras() {
        let shots = shots(None).expect("the samples are embedded");
        assert_eq!(shots.len(), 8);
        for (i, shot) in shots.iter().enumerate() {
            assert_eq!(shot.camera, CAMERAS[i % 4], "{}", shot.name);
            let image = shot.image().expect(&shot.name);
            let format = image::guess_format(&image).expect(&shot.name);
            assert_eq!(format, image::ImageFormat::Jpeg, "{}", shot.name);
        }
    }
}
