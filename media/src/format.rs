//! Image formats: their media types, names and file extensions.

use image::ImageFormat;

/// Extensions of the names of image files, in lower case.
pub const EXTENSIONS: [&str; 10] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "webp", "ppm", "pgm", "pbm", "pnm",
];

/// Media types, including the names that old programs and cameras use. `None` is raw RGB.
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

/// The known media type that a `content-type` names, with its format. Parameters and case do not count.
pub(crate) fn of_type(content_type: &str) -> Option<(&'static str, Option<ImageFormat>)> {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let known = TYPES.iter();
    known
        .copied()
        .find(|(name, _)| name.eq_ignore_ascii_case(essence))
}

/// The format that a file's first bytes tell.
pub(crate) fn of_bytes(file: &[u8]) -> Option<ImageFormat> {
    image::guess_format(file).ok()
}

/// The media type of an image file by its first bytes.
///
/// # Errors
/// A sentence that names the format, which is not supported, or says that the file is no image.
pub fn media_type(file: &[u8]) -> Result<&'static str, String> {
    use ImageFormat as F;
    const TAKEN: &str = "PNG, JPEG, WebP and PPM are taken";
    match of_bytes(file) {
        Some(format @ (F::Png | F::Jpeg | F::WebP | F::Pnm)) => Ok(format.to_mime_type()),
        Some(other) => Err(format!("it is {}, {TAKEN}", other.to_mime_type())),
        None => Err(format!("it is no image, {TAKEN}")),
    }
}

/// The name of a format in messages.
pub(crate) fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::WebP => "WebP",
        ImageFormat::Pnm => "PPM",
        _ => "of an unsupported image format",
    }
}

/// Format and decoder, as they travel with a frame: JPEG decoders differ by a step or two.
pub(crate) fn source_format(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Jpeg => "jpeg (zune-jpeg 0.5)",
        ImageFormat::Png => "png (png 0.18)",
        ImageFormat::WebP => "webp (image-webp 0.2)",
        _ => "pnm (image 0.25)",
    }
}
