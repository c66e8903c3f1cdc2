//! Bodies of `POST /v1/frames`: a byte that chooses the content type, for raw RGB two of its size, then the body.

use media::{Limits, Picture, encode::lossless};

const TYPES: [&str; 7] = [
    "application/octet-stream",
    "image/png",
    "image/jpeg",
    "image/webp",
    "image/x-portable-pixmap",
    "Image/X-Portable-Anymap; q=1",
    "image/pjpeg",
];
const LIMITS: Limits = Limits {
    max_side: 1 << 14,
    max_pixels: 1 << 12,
};

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
    decoders_may_panic();
    match media::decode(body, Some(TYPES[kind]), size, LIMITS) {
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
            let written = lossless(&frame.rgb, frame.width, frame.height);
            let (media_type, file) = written.expect("a WebP");
            let again = media::decode(&file, Some(media_type), None, LIMITS);
            assert!(again.expect("our own WebP").rgb == frame.rgb);
        }
    }
}

/// A fuzzer ends at any panic, and reporting one takes memory; panics of the JPEG decoder are caught by `media`.
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

fn whole(frame: &Picture) {
    let pixels = u64::from(frame.width) * u64::from(frame.height);
    assert!((1..=LIMITS.max_pixels).contains(&pixels));
    assert_eq!(frame.rgb.len() as u64, pixels * 3);
}
