//! The pictures of the cameras: one for each number, the same for the same seed.

use std::io::Cursor;

use anyhow::{Context as _, Result};
use image::{
    ExtendedColorType, ImageEncoder as _,
    codecs::{jpeg::JpegEncoder, png::PngEncoder, webp::WebPEncoder},
};
use media::Jpeg;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// Cameras that take turns.
pub(crate) const CAMERAS: u64 = 50;
/// Cameras of pictures of all forms: few, so that the frames of one follow each other while a stream lasts.
const VARIED_CAMERAS: u64 = 10;
/// The camera whose frames are files in a folder.
pub(crate) const FOLDER: &str = "folder";
/// The camera whose frames come as a stream.
pub(crate) const STREAM: &str = "stream";

/// Squares of a camera, and those of a picture on them, are fewer than this.
const SQUARES: u32 = 7;
/// One picture in so many has four patches, the others have one: most of the work is not to be that of the decoder.
const SQUARE_EVERY: u64 = 8;
/// One picture in so many has about two megapixels, where pictures vary.
const LARGE_EVERY: u64 = 307;
const LARGE: (u32, u32) = (1600, 1200);
const JPEG_QUALITY: u8 = 85;
/// Numbers of files and of the stream's frames begin here, so that no picture is that of a post.
const FOLDER_FROM: u64 = 1 << 40;
const STREAM_FROM: u64 = 1 << 41;

/// How a picture is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Form {
    Raw,
    Png,
    WebP,
    Jpeg,
}

impl Form {
    /// Ending of a file's name.
    pub(crate) fn ending(self) -> &'static str {
        match self {
            Self::Raw => "rgb",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Jpeg => "jpg",
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Raw => "application/octet-stream",
            Self::Png => "image/png",
            Self::WebP => "image/webp",
            Self::Jpeg => "image/jpeg",
        }
    }
}

/// The task of a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Task {
    Compress,
    Classify,
    Both,
}

impl Task {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Compress => "compress",
            Self::Classify => "classify",
            Self::Both => "both",
        }
    }

    pub(crate) fn compresses(self) -> bool {
        self != Self::Classify
    }

    pub(crate) fn classifies(self) -> bool {
        self != Self::Compress
    }
}

/// One picture of one camera.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Picture {
    seed: u64,
    pub(crate) number: u64,
    pub(crate) camera: String,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) task: Task,
    pub(crate) form: Form,
}

impl Picture {
    /// Small raw pictures to be compressed, one like the other but for their content.
    pub(crate) fn plain(seed: u64, number: u64) -> Self {
        let side = match number.is_multiple_of(SQUARE_EVERY) {
            true => 64,
            false => 32,
        };
        Self {
            seed,
            number,
            camera: format!("camera-{}", number % CAMERAS),
            width: side,
            height: side,
            task: Task::Compress,
            form: Form::Raw,
        }
    }

    /// Pictures of all forms and tasks, a few of which are large.
    pub(crate) fn varied(seed: u64, number: u64) -> Self {
        let mut picture = Self::plain(seed, number);
        picture.camera = format!("camera-{}", number % VARIED_CAMERAS);
        let mut rng = picture.dice(1);
        picture.form = match rng.random_range(0..8) {
            0..3 => Form::Raw,
            3 => Form::Png,
            4..6 => Form::WebP,
            _ => Form::Jpeg,
        };
        picture.task = match rng.random_range(0..8) {
            0 => Task::Classify,
            1..3 => Task::Both,
            _ => Task::Compress,
        };
        if number % LARGE_EVERY == LARGE_EVERY / 4 {
            (picture.width, picture.height) = LARGE;
        }
        picture
    }

    /// File `index` of the folder.
    pub(crate) fn of_folder(seed: u64, index: u64) -> Self {
        let mut picture = Self::plain(seed, FOLDER_FROM + index);
        picture.camera = FOLDER.to_owned();
        picture.task = Task::Both;
        picture.form = [Form::Png, Form::WebP, Form::Jpeg][(index % 3) as usize];
        picture
    }

    /// Frame `index` of the stream.
    pub(crate) fn of_stream(seed: u64, index: u64) -> Self {
        let mut picture = Self::plain(seed, STREAM_FROM + index);
        picture.camera = STREAM.to_owned();
        picture.form = Form::Jpeg;
        picture
    }

    /// The bytes that are sent.
    pub(crate) fn body(&self) -> Result<Vec<u8>> {
        let rgb = self.scene();
        let (width, height, kind) = (self.width, self.height, ExtendedColorType::Rgb8);
        let mut body = Vec::new();
        match self.form {
            Form::Raw => return Ok(rgb),
            Form::Png => PngEncoder::new(&mut body).write_image(&rgb, width, height, kind)?,
            Form::WebP => {
                WebPEncoder::new_lossless(&mut body).write_image(&rgb, width, height, kind)?;
            }
            Form::Jpeg => {
                let jpeg = JpegEncoder::new_with_quality(Cursor::new(&mut body), JPEG_QUALITY);
                jpeg.write_image(&rgb, width, height, kind)?;
            }
        }
        Ok(body)
    }

    /// The pixels that whoever decodes what is sent gets: interleaved RGB.
    pub(crate) fn pixels(&self) -> Result<Vec<u8>> {
        match self.form {
            Form::Jpeg => Ok(Jpeg::new(&self.body()?)?.decode()?),
            _ => Ok(self.scene()),
        }
    }

    /// The camera's own file as it travels to be compared; `None` where the pixels travel losslessly in its place.
    pub(crate) fn own_file(&self) -> Result<Option<Vec<u8>>> {
        match self.form {
            Form::Raw | Form::Png => Ok(None),
            Form::WebP => self.body().map(Some),
            Form::Jpeg => {
                let body = self.body()?;
                let stripped = Jpeg::new(&body)?.stripped();
                Ok(Some(stripped.context("it can be stripped")?))
            }
        }
    }

    /// The camera's gradient and squares, and on them squares and noise of this picture, so that no two are alike and
    /// those of a camera resemble each other.
    fn scene(&self) -> Vec<u8> {
        let (mut camera, mut rng) = (self.camera_dice(), self.dice(0));
        let (width, height) = (self.width, self.height);
        let from: [u8; 3] = camera.random();
        let to: [u8; 3] = camera.random();
        let whole = width + height;
        let mut rgb = Vec::with_capacity((width * height * 3) as usize);
        for y in 0..height {
            for x in 0..width {
                for channel in 0..3 {
                    let (a, b) = (u32::from(from[channel]), u32::from(to[channel]));
                    let along = x + y;
                    rgb.push(((a * (whole - along) + b * along) / whole) as u8);
                }
            }
        }
        for dice in [&mut camera, &mut rng] {
            for _ in 0..dice.random_range(2..SQUARES) {
                self.square(&mut rgb, dice);
            }
        }
        for value in &mut rgb {
            *value = value.saturating_add(rng.random_range(0..8));
        }
        rgb
    }

    fn square(&self, rgb: &mut [u8], dice: &mut StdRng) {
        let (width, height) = (self.width, self.height);
        let colour: [u8; 3] = dice.random();
        let (left, top) = (dice.random_range(0..width), dice.random_range(0..height));
        let size = dice.random_range(4..width.min(height) / 2);
        for y in top..(top + size).min(height) {
            for x in left..(left + size).min(width) {
                let at = ((y * width + x) * 3) as usize;
                rgb[at..at + 3].copy_from_slice(&colour);
            }
        }
    }

    fn camera_dice(&self) -> StdRng {
        let name = self.camera.bytes().map(u64::from);
        let name = name.fold(0u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
        StdRng::seed_from_u64(self.seed ^ name)
    }

    fn dice(&self, of: u64) -> StdRng {
        StdRng::seed_from_u64(
            self.seed ^ (self.number + of).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ of,
        )
    }
}
