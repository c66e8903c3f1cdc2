//! Images on disk: which files are images, and their pixels.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, bail, ensure};
use media::{EXTENSIONS, Limits};
use patchwire_proto::limits::MAX_SIDE;

/// Most bytes of a file. An edge node's own limit is lower unless it was raised.
pub(crate) const MAX_FILE_BYTES: u64 = 1 << 30;

/// Pixels of an image.
pub(crate) struct Frame {
    /// File name without folders.
    pub(crate) name: String,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Rows of R, G, B bytes: `3 * width * height`.
    pub(crate) rgb: Vec<u8>,
}

/// The image in `path` as 8-bit RGB, decoded as an edge node decodes it.
pub(crate) fn load(path: &Path) -> Result<Frame> {
    let bytes = read_bounded(path, MAX_FILE_BYTES)?;
    let not_one = || format!("cannot read {} as an image", path.display());
    let media_type = media::media_type(&bytes)
        .map_err(Error::msg)
        .with_context(not_one)?;
    let limits = Limits {
        max_side: MAX_SIDE,
        max_pixels: u64::MAX,
    };
    let frame = media::decode(&bytes, Some(media_type), None, limits).with_context(not_one)?;
    Ok(Frame {
        name: file_name(path),
        width: frame.width,
        height: frame.height,
        rgb: frame.rgb,
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
        // An entry without metadata is reported when it is read.
        let file = std::fs::metadata(&path).map_or(true, |metadata| metadata.is_file());
        if file && EXTENSIONS.iter().any(|e| e.eq_ignore_ascii_case(extension)) {
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
