//! From bytes to pixels: exact conversions, and hostile bytes.

use std::io::Cursor;

use image::{
    DynamicImage, ExtendedColorType, ImageBuffer, ImageEncoder as _, ImageFormat, Luma, LumaA, Rgb,
    RgbImage, Rgba,
    codecs::{png::PngEncoder, webp::WebPEncoder},
};
use media::{DecodeError, JpegError, Limits, decode, encode::lossless};
use proptest::prelude::*;

const LIMITS: Limits = Limits {
    max_side: 16_384,
    max_pixels: 1_000_000,
};
const TYPES: [(&str, ImageFormat); 4] = [
    ("image/png", ImageFormat::Png),
    ("image/jpeg", ImageFormat::Jpeg),
    ("image/webp", ImageFormat::WebP),
    ("image/x-portable-pixmap", ImageFormat::Pnm),
];

fn file(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image
        .into()
        .write_to(&mut out, format)
        .expect("an encoded image");
    out.into_inner()
}

fn photo() -> RgbImage {
    RgbImage::from_fn(37, 21, |x, y| {
        Rgb([(x * 7) as u8, (y * 11) as u8, (x * y) as u8])
    })
}

fn pixels(bytes: Vec<u8>, kind: &str) -> Vec<u8> {
    decode(&bytes, Some(kind), None, LIMITS)
        .expect("a frame")
        .rgb
}

#[test]
fn lossless_formats_keep_every_pixel() {
    for (kind, format) in TYPES
        .into_iter()
        .filter(|&(_, format)| format != ImageFormat::Jpeg)
    {
        assert_eq!(
            pixels(file(photo(), format), kind),
            photo().into_raw(),
            "{kind}"
        );
    }
    let raw = photo().into_raw();
    let frame = decode(
        &raw,
        Some("application/octet-stream"),
        Some((37, 21)),
        LIMITS,
    );
    assert_eq!(frame.expect("a frame").rgb, raw);
}

#[test]
fn gray_alpha_and_depth_are_converted_as_documented() {
    let png = |image: DynamicImage| pixels(file(image, ImageFormat::Png), "image/png");
    let gray = ImageBuffer::from_pixel(2, 1, Luma([90u8]));
    assert_eq!(png(gray.into()), [90; 6]);
    let transparent = ImageBuffer::from_pixel(1, 1, Rgba([10u8, 20, 30, 0]));
    assert_eq!(
        png(transparent.into()),
        [10, 20, 30],
        "alpha is dropped, not blended"
    );
    let gray_alpha = ImageBuffer::from_pixel(1, 1, LumaA([40u8, 7]));
    assert_eq!(png(gray_alpha.into()), [40; 3]);
    let deep = ImageBuffer::from_pixel(1, 1, Rgb([0u16, 257 * 100 + 128, 65_535]));
    assert_eq!(png(deep.into()), [0, 100, 255]);
}

#[test]
fn jpeg_is_decoded_closely_and_names_its_decoder() {
    let smooth = RgbImage::from_fn(64, 64, |x, y| Rgb([(x * 3) as u8, (y * 3) as u8, 128]));
    let frame = decode(
        &file(smooth.clone(), ImageFormat::Jpeg),
        Some("image/jpeg"),
        None,
        LIMITS,
    );
    let frame = frame.expect("a frame");
    let error: u64 = frame
        .rgb
        .iter()
        .zip(smooth.as_raw())
        .map(|(a, b)| u64::from(a.abs_diff(*b)))
        .sum();
    assert!(
        error / (64 * 64 * 3) < 4,
        "mean error {}",
        error / (64 * 64 * 3)
    );
    let lock = include_str!("../../Cargo.lock");
    for (kind, format) in TYPES {
        let told = decode(&file(photo(), format), Some(kind), None, LIMITS).expect("a frame");
        let (decoder, version) = told
            .source_format
            .split_once('(')
            .expect("a decoder")
            .1
            .trim_end_matches(')')
            .split_once(' ')
            .expect("a version");
        let entry = format!("name = \"{decoder}\"\nversion = \"{version}.");
        assert!(
            lock.contains(&entry),
            "{} is not what is built in",
            told.source_format
        );
    }
}

#[test]
fn an_end_marker_inside_metadata_does_not_hide_a_cut() {
    let jpeg = file(photo(), ImageFormat::Jpeg);
    // An APP1 segment that holds a whole thumbnail, end marker included.
    let mut with_thumbnail = jpeg[..2].to_vec();
    with_thumbnail.extend([0xff, 0xe1]);
    with_thumbnail.extend((jpeg.len() as u16 + 2).to_be_bytes());
    with_thumbnail.extend(&jpeg);
    with_thumbnail.extend(&jpeg[2..]);
    assert_eq!(
        pixels(with_thumbnail.clone(), "image/jpeg"),
        pixels(jpeg, "image/jpeg")
    );
    with_thumbnail.truncate(with_thumbnail.len() - 20);
    let refused = decode(&with_thumbnail, Some("image/jpeg"), None, LIMITS);
    assert!(
        matches!(refused, Err(DecodeError::Jpeg(JpegError::Data(_)))),
        "{refused:?}"
    );
}

#[test]
fn the_original_is_lossless() {
    let rgb = photo().into_raw();
    let (media_type, file) = lossless(&rgb, 37, 21).expect("a WebP");
    assert_eq!(pixels(file, media_type), rgb);
}

#[test]
fn an_original_with_a_side_too_long_for_webp_is_png() {
    for (width, height) in [(16_384, 8), (8, 16_384), (16_383, 8)] {
        let rgb: Vec<u8> = (0..width * height * 3).map(|i| (i / 100) as u8).collect();
        let (media_type, file) = lossless(&rgb, width, height).expect("an original");
        let png = width.max(height) > 16_383;
        assert_eq!(media_type, if png { "image/png" } else { "image/webp" });
        assert_eq!(pixels(file, media_type), rgb);
    }
}

#[test]
fn png_and_webp_are_turned_upright_too() {
    // Orientation 6: the picture's first row is its right side.
    let exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let image = RgbImage::from_fn(3, 2, |x, y| Rgb([x as u8, y as u8, 9]));
    let upright = image::imageops::rotate90(&image).into_raw();
    let raw = (
        image.as_raw(),
        image.width(),
        image.height(),
        ExtendedColorType::Rgb8,
    );
    let mut png = Vec::new();
    let mut encoder = PngEncoder::new(&mut png);
    encoder.set_exif_metadata(exif.to_vec()).expect("taken");
    encoder
        .write_image(raw.0, raw.1, raw.2, raw.3)
        .expect("a PNG");
    let mut webp = Vec::new();
    let mut encoder = WebPEncoder::new_lossless(&mut webp);
    encoder.set_exif_metadata(exif.to_vec()).expect("taken");
    encoder
        .write_image(raw.0, raw.1, raw.2, raw.3)
        .expect("a WebP");
    for (bytes, kind) in [(png, "image/png"), (webp, "image/webp")] {
        let frame = decode(&bytes, Some(kind), None, LIMITS).expect("a frame");
        assert_eq!((frame.width, frame.height), (2, 3), "{kind}");
        assert_eq!(frame.rgb, upright, "{kind}");
    }
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(
        which in 0usize..4,
        cut in 0usize..4000,
        edits in prop::collection::vec((0usize..4000, any::<u8>()), 0..12),
    ) {
        let (kind, format) = TYPES[which];
        let mut bytes = file(photo(), format);
        bytes.truncate(cut.max(8));
        for (at, value) in edits {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        match decode(&bytes, Some(kind), None, LIMITS) {
            Ok(frame) => {
                prop_assert!(u64::from(frame.width) * u64::from(frame.height) <= LIMITS.max_pixels);
                prop_assert_eq!(frame.rgb.len(), (frame.width * frame.height * 3) as usize);
            }
            Err(error) => {
                let sentence = error.to_string();
                prop_assert!(!sentence.contains('\n') && sentence.len() < 500, "{}", sentence);
            }
        }
    }
}
