//! Orientation: pictures are turned so that they stand upright.

use image::{DynamicImage, RgbImage, metadata::Orientation};

/// Width and height in pixels of a picture of `size` once it is upright.
pub(crate) fn upright_size((width, height): (u32, u32), orientation: Orientation) -> (u32, u32) {
    // EXIF numbers the orientations that exchange the sides from 5 to 8.
    match orientation.to_exif() {
        5.. => (height, width),
        _ => (width, height),
    }
}

/// The picture's pixels once it is upright: red, green, blue, row by row.
pub(crate) fn upright(picture: RgbImage, orientation: Orientation) -> Vec<u8> {
    let mut picture = DynamicImage::from(picture);
    picture.apply_orientation(orientation);
    picture.into_rgb8().into_raw()
}
