//! Images on disk: which files are images, and their pixels.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use image::{ImageReader, Limits};
use patchwire_proto::limits::MAX_SIDE;

/// Names of image files that the commands take, by extension.
const EXTENSIONS: [&str; 6] = ["png", "jpg", "jpeg", "webp", "ppm", "pnm"];

/// The largest frame in RGB, and as much again for the codec's own buffers.
const MAX_DECODE_BYTES: u64 = 2 * 3 * (MAX_SIDE as u64) * (MAX_SIDE as u64);

/// Pixels of an image.
pub(crate) struct Frame {
    /// File name without folders.
    pub(crate) name: String,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Rows of R, G, B bytes: `3 * width * height`.
    pub(crate) rgb: Vec<u8>,
}

/// The image in `path`, as 8-bit RGB; transparency is dropped.
pub(crate) fn load(path: &Path) -> Result<Frame> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODE_BYTES);
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut reader = ImageReader::new(BufReader::new(file))
        .with_guessed_format()
        .with_context(|| format!("cannot read {}", path.display()))?;
    reader.limits(limits);
    let image = reader
        .decode()
        .with_context(|| format!("cannot read {} as an image", path.display()))?
        .into_rgb8();
    let (width, height) = image.dimensions();
    ensure!(width > 0 && height > 0, "{} has no pixels", path.display());
    Ok(Frame {
        name: file_name(path),
        width,
        height,
        rgb: image.into_raw(),
    })
}

/// The image files directly in `folder`, sorted by name; an error when there are none.
pub(crate) fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry
            .with_context(|| format!("cannot list {}", folder.display()))?
            .path();
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        if path.is_file() && EXTENSIONS.iter().any(|e| e.eq_ignore_ascii_case(extension)) {
            files.push(path);
        }
    }
    if files.is_empty() {
        bail!(
            "{} holds no image (files named .{})",
            folder.display(),
            EXTENSIONS.join(", .")
        );
    }
    files.sort();
    Ok(files)
}

/// The bytes of a file of at most `limit` bytes.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(
        bytes.len() as u64 <= limit,
        "{} is larger than {limit} bytes",
        path.display()
    );
    Ok(bytes)
}

/// The last part of a path, for tables.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}
