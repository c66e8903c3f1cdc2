//! JPEGs of real cameras: right pixels, or an error that says why not. The PNGs beside them are libjpeg-turbo's pixels.

use std::{fs, path::PathBuf};

use media::{Jpeg, JpegError};

/// Most that zune-jpeg's transform and chroma differ from libjpeg-turbo's.
const CLOSE: u8 = 4;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/jpegs")
        .join(name)
}

fn file(name: &str) -> Vec<u8> {
    fs::read(path(name)).expect("a file")
}

struct Picture {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

fn decode(bytes: &[u8]) -> Result<Picture, JpegError> {
    let jpeg = Jpeg::new(bytes)?;
    let (width, height) = jpeg.size();
    let rgb = jpeg.decode()?;
    assert_eq!(rgb.len(), (width * height * 3) as usize);
    Ok(Picture { width, height, rgb })
}

fn right(name: &str) -> Picture {
    let png = image::ImageReader::open(path(name)).expect("a reference");
    let png = png.decode().expect("a reference").into_rgb8();
    Picture {
        width: png.width(),
        height: png.height(),
        rgb: png.into_raw(),
    }
}

/// The largest difference of two pictures.
fn difference(one: &Picture, other: &Picture) -> u8 {
    assert_eq!((one.width, one.height), (other.width, other.height));
    let both = one.rgb.iter().zip(&other.rgb);
    both.map(|(a, b)| a.abs_diff(*b)).max().unwrap_or_default()
}

#[test]
fn what_cameras_leave_out_or_order_otherwise_does_not_matter() {
    for (jpeg, reference) in [
        ("nodht.jpg", "nodht.png"),
        ("noeoi.jpg", "picture.png"),
        ("dnl.jpg", "picture.png"),
        ("planar.jpg", "picture.png"),
        ("planar-chroma-first.jpg", "picture.png"),
        ("planar-88.jpg", "planar-88.png"),
        ("exif6.jpg", "exif6.png"),
        ("adobe-rgb.jpg", "adobe-rgb.png"),
        ("progressive.jpg", "progressive.png"),
        ("restarts.jpg", "progressive.png"),
    ] {
        let decoded = decode(&file(jpeg)).unwrap_or_else(|error| panic!("{jpeg}: {error}"));
        let difference = difference(&decoded, &right(reference));
        assert!(difference <= CLOSE, "{jpeg} differs by {difference}");
    }
}

#[test]
fn data_that_end_early_are_told_also_before_an_end_marker() {
    for name in ["rows-eoi.jpg", "cut-eoi.jpg", "prog-cut-eoi.jpg"] {
        let refused = decode(&file(name)).err().expect(name).to_string();
        assert!(
            refused.starts_with("JPEG is truncated"),
            "{name}: {refused}"
        );
    }
}

#[test]
fn a_cut_anywhere_is_refused_or_cannot_be_seen() {
    for name in [
        "planar.jpg",
        "progressive.jpg",
        "restarts.jpg",
        "noeoi.jpg",
        "adobe-rgb.jpg",
    ] {
        let mut bytes = file(name);
        if bytes.ends_with(&[0xff, 0xd9]) {
            bytes.truncate(bytes.len() - 2);
        }
        let whole = decode(&bytes).expect("whole without its end marker");
        let (mut taken, cuts) = (0, (1..bytes.len()).step_by(7));
        for end in cuts.clone() {
            let cut = &bytes[..bytes.len() - end];
            let ended = [cut, &[0xff, 0xd9]].concat();
            for cut in [cut, &ended] {
                if let Ok(picture) = decode(cut) {
                    taken += 1;
                    let difference = difference(&picture, &whole);
                    assert!(
                        difference < 16,
                        "{name} without {end} bytes differs by {difference}"
                    );
                }
            }
        }
        assert!(
            taken * 50 < cuts.count() * 2,
            "{name}: {taken} cuts were taken"
        );
    }
}

#[test]
fn a_picture_that_lost_bytes_between_restart_markers_is_refused() {
    let bytes = file("restarts.jpg");
    let marker = |number: u8| {
        let found = bytes.windows(2).position(|two| two == [0xff, number]);
        found.expect("a restart marker")
    };
    let gap = marker(0xd1) + 6..marker(0xd2);
    let lost = [&bytes[..gap.start], &bytes[gap.end..]].concat();
    assert!(matches!(decode(&lost), Err(JpegError::Data(_))));
}

/// A JPEG with EXIF behind its start marker.
fn with_exif(jpeg: &[u8], tiff: &[u8]) -> Vec<u8> {
    let length = (tiff.len() as u16 + 8).to_be_bytes();
    let start = [0xff, 0xd8, 0xff, 0xe1];
    [&start[..], &length, b"Exif\0\0", tiff, &jpeg[2..]].concat()
}

/// A TIFF header with one entry, the orientation.
fn orientation(value: u16, little: bool) -> Vec<u8> {
    let short = |value: u16| match little {
        true => value.to_le_bytes(),
        false => value.to_be_bytes(),
    };
    let long = |value: u32| match little {
        true => value.to_le_bytes(),
        false => value.to_be_bytes(),
    };
    let order: &[u8] = if little { b"II" } else { b"MM" };
    let entry = [short(1), short(0x112), short(3)].concat();
    let value = [short(value), [0; 2]].concat();
    [
        order,
        &short(42),
        &long(8),
        &entry,
        &long(1),
        &value,
        &[0; 4],
    ]
    .concat()
}

/// The picture turned so that its row 0 and column 0 are where EXIF says that they are (CIPA DC-008, 4.6.4).
fn turned(picture: &Picture, value: u16) -> Picture {
    let (width, height) = (picture.width, picture.height);
    let turns = value > 4;
    let (across, down) = if turns {
        (height, width)
    } else {
        (width, height)
    };
    let mut rgb = Vec::new();
    for y in 0..down {
        for x in 0..across {
            let (from_x, from_y) = match value {
                2 => (width - 1 - x, y),
                3 => (width - 1 - x, height - 1 - y),
                4 => (x, height - 1 - y),
                5 => (y, x),
                6 => (y, height - 1 - x),
                7 => (width - 1 - y, height - 1 - x),
                8 => (width - 1 - y, x),
                _ => (x, y),
            };
            let at = ((from_y * width + from_x) * 3) as usize;
            rgb.extend(&picture.rgb[at..at + 3]);
        }
    }
    Picture {
        width: across,
        height: down,
        rgb,
    }
}

#[test]
fn pictures_are_upright_as_exif_says() {
    let jpeg = file("noeoi.jpg");
    let plain = decode(&jpeg).expect("a picture");
    for value in 1..=8 {
        for little in [false, true] {
            let tiff = orientation(value, little);
            let upright = decode(&with_exif(&jpeg, &tiff)).expect("a picture");
            let difference = difference(&upright, &turned(&plain, value));
            assert_eq!(difference, 0, "orientation {value}, little-endian {little}");
        }
    }
}

#[test]
fn nonsense_in_exif_is_left_alone() {
    let jpeg = file("noeoi.jpg");
    let plain = decode(&jpeg).expect("a picture");
    let mut far = orientation(6, true);
    far[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut many = orientation(6, true);
    many[8..10].copy_from_slice(&u16::MAX.to_le_bytes());
    many[10] = 0;
    let mut long = orientation(6, true);
    long[12] = 4;
    for tiff in [
        orientation(0, false),
        orientation(9, false),
        orientation(0xffff, true),
        far,
        many,
        long,
        orientation(6, true)[..14].to_vec(),
        b"MM".to_vec(),
        b"hello, camera".to_vec(),
        Vec::new(),
    ] {
        let picture = decode(&with_exif(&jpeg, &tiff)).expect("a picture");
        assert_eq!(difference(&picture, &plain), 0, "{tiff:?}");
    }
}

#[test]
fn kinds_that_are_not_decoded_are_named() {
    let bytes = file("noeoi.jpg");
    let frame_header = bytes.windows(2).position(|two| two == [0xff, 0xc0]);
    let frame_header = frame_header.expect("a frame header");
    let with = |offset: usize, value: u8| {
        let mut bytes = bytes.clone();
        bytes[frame_header + offset] = value;
        decode(&bytes).err().expect("refused").to_string()
    };
    for (offset, value, told) in [
        (1, 0xc3, "lossless"),
        (1, 0xc5, "hierarchical"),
        (1, 0xc9, "arithmetic coding"),
        (4, 12, "12 bits a sample"),
        (9, 2, "2 components"),
        (11, 0x51, "frame header"),
        (11, 0x33, "truncated or damaged"),
    ] {
        let sentence = with(offset, value);
        assert!(sentence.contains(told), "{sentence}");
    }
    let mut flat = bytes.clone();
    flat[frame_header + 5..frame_header + 7].fill(0);
    let sentence = decode(&flat).err().expect("refused").to_string();
    assert!(sentence.contains("no DNL marker"), "{sentence}");
}

#[test]
fn beside_jfif_adobe_does_not_say_what_the_components_are() {
    let jpeg = file("noeoi.jpg");
    let adobe = b"\xff\xd8\xff\xee\x00\x0eAdobe\x00\x64\0\0\0\0\0";
    let both = [&adobe[..], &jpeg[2..]].concat();
    let plain = decode(&jpeg).expect("a picture");
    let stripped = Jpeg::new(&both).expect("a JPEG").stripped();
    for bytes in [both, stripped.expect("together")] {
        let picture = decode(&bytes).expect("a picture");
        assert_eq!(difference(&picture, &plain), 0);
    }
}

#[test]
fn a_stripped_file_has_the_same_pixels_and_nothing_else() {
    for name in [
        "nodht.jpg",
        "noeoi.jpg",
        "dnl.jpg",
        "exif6.jpg",
        "adobe-rgb.jpg",
        "progressive.jpg",
        "restarts.jpg",
    ] {
        let bytes = file(name);
        let stripped = Jpeg::new(&bytes).expect(name).stripped().expect(name);
        let (before, after) = (decode(&bytes).expect(name), decode(&stripped).expect(name));
        assert_eq!(before.rgb, after.rgb, "{name}");
        // Other decoders find the same size and colours; not all know the standard tables.
        if name != "nodht.jpg" {
            let other = image::load_from_memory_with_format(&stripped, image::ImageFormat::Jpeg);
            assert_eq!(
                other.expect(name).into_rgb8().len(),
                after.rgb.len(),
                "{name}"
            );
        }
    }
    let exif = Jpeg::new(&file("exif6.jpg"))
        .expect("a JPEG")
        .stripped()
        .expect("together");
    let orientation = [0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, 6];
    assert!(
        exif.windows(10).any(|part| part == orientation),
        "the orientation stays"
    );
    assert_eq!(
        Jpeg::new(&file("planar.jpg")).expect("a JPEG").stripped(),
        None
    );
}
