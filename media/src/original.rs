//! The file that a picture came in, without its metadata.

use crate::{Picture, jpeg::Jpeg, webp};

/// The media type and bytes of the file that a picture was decoded from, without metadata. `None` where there is no
/// such file: for raw RGB, for lossless formats, which [`lossless`](crate::encode::lossless) writes smaller, and for
/// files whose form would be lost.
pub fn without_metadata(picture: &Picture, file: &[u8]) -> Option<(&'static str, Vec<u8>)> {
    if picture.source_format.starts_with("jpeg") {
        return Some(("image/jpeg", Jpeg::new(file).ok()?.stripped()?));
    }
    if picture.source_format.starts_with("webp") {
        return Some(("image/webp", webp::plain(file)?.to_vec()));
    }
    None
}
