//! Pictures of reconstructions: their pixels, and the decoder that they name.

use media::{
    decode_as,
    reconstruction::{KEYWORD, decoder, encode},
};

const WIDTH: u32 = 37;
const HEIGHT: u32 = 21;
const ID: [u8; 32] =
    *b"0123456789abcdef\x00\x01\x02\x03\x04\x05\x06\x07\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8";

fn rgb() -> Vec<u8> {
    (0..WIDTH * HEIGHT * 3)
        .map(|n| (n * n % 251) as u8)
        .collect()
}

/// A PNG with a text of its own.
fn with_text(keyword: &str, text: &str) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, WIDTH, HEIGHT);
    encoder.set_color(png::ColorType::Rgb);
    let added = encoder.add_text_chunk(keyword.to_owned(), text.to_owned());
    added.expect("a text");
    let mut writer = encoder.write_header().expect("a header");
    writer.write_image_data(&rgb()).expect("pixels");
    drop(writer);
    file
}

#[test]
fn a_picture_keeps_its_pixels_and_its_decoder() {
    let file = encode(&rgb(), WIDTH, HEIGHT, &ID).expect("a picture");
    assert_eq!(decoder(&file), Some(ID));
    let pixels = decode_as(&file, "image/png", (WIDTH, HEIGHT)).expect("a PNG");
    assert!(pixels == rgb(), "pixels changed");
    encode(&rgb(), WIDTH + 1, HEIGHT, &ID).expect_err("pixels are missing");
}

#[test]
fn other_files_name_no_decoder() {
    let hex = hex::encode(ID);
    assert_eq!(decoder(&with_text(KEYWORD, &hex)), Some(ID));
    let others = [
        with_text("Comment", &hex),
        with_text(KEYWORD, &hex[1..]),
        with_text(KEYWORD, &"xy".repeat(32)),
        with_text(KEYWORD, &format!("{hex}00")),
        b"RIFF....WEBPVP8L".to_vec(),
        Vec::new(),
    ];
    for (n, file) in others.iter().enumerate() {
        assert_eq!(decoder(file), None, "file {n}");
    }
}

#[test]
fn a_damaged_file_names_no_decoder_or_its_own() {
    let file = encode(&rgb(), WIDTH, HEIGHT, &ID).expect("a picture");
    // The header, the text and the beginning of the pixels.
    for at in 0..200 * 8 {
        let mut flipped = file.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        let named = decoder(&flipped);
        assert!(
            named.is_none_or(|id| id == ID),
            "bit {at} makes it {named:?}"
        );
    }
    for length in 0..200 {
        decoder(&file[..length]);
    }
}
