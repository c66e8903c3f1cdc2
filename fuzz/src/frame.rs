//! Bodies of `POST /v1/frames`: a byte that chooses the content type, for raw RGB two of its size, then the body.

use bytes::Bytes;
use edge_node::intake::{self, Frame};

const TYPES: [&str; 7] = [
    "application/octet-stream",
    "image/png",
    "image/jpeg",
    "image/webp",
    "image/x-portable-pixmap",
    "Image/X-Portable-Anymap; q=1",
    "image/pjpeg",
];
const MAX_PIXELS: u64 = 1 << 12;

pub(crate) fn run(input: &[u8]) {
    let Some((&kind, mut body)) = input.split_first() else {
        return;
    };
    let kind = usize::from(kind) % TYPES.len();
    let mut size = None;
    if kind == 0 {
        let Some((&[width, height], rest)) = body.split_first_chunk() else {
            return;
        };
        (size, body) = (Some((width.into(), height.into())), rest);
    }
    let body = Bytes::copy_from_slice(body);
    decoders_may_panic();
    match intake::decode(&body, Some(TYPES[kind]), size, MAX_PIXELS) {
        Err(error) => {
            let sentence = error.to_string();
            assert!(
                !sentence.is_empty() && sentence.chars().count() < 500,
                "{sentence}"
            );
        }
        Ok(frame) => {
            whole(&frame);
            if kind != 0 {
                return;
            }
            let original = intake::lossless(&frame).expect("a WebP").data;
            let again = intake::decode(&original, Some(TYPES[3]), None, MAX_PIXELS);
            assert!(again.expect("our own PNG").rgb == frame.rgb);
        }
    }
}

/// A fuzzer ends at any panic, and telling of one takes memory; those of the JPEG decoder are caught by the door.
fn decoders_may_panic() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let ends = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let of_decoder = |place: &std::panic::Location<'_>| place.file().contains("zune-jpeg");
            if !panic.location().is_some_and(of_decoder) {
                ends(panic);
            }
        }));
    });
}

fn whole(frame: &Frame) {
    let pixels = u64::from(frame.width) * u64::from(frame.height);
    assert!((1..=MAX_PIXELS).contains(&pixels));
    assert_eq!(frame.rgb.len() as u64, pixels * 3);
}
