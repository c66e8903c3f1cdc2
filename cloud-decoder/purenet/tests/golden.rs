//! Decoded frames against PyTorch's; see `golden/make_golden.py`.

use ndarray::{Array3, Axis};
use purenet::{DecodeError, Decoder, Kernel};
use safetensors::SafeTensors;

const FULL: &[u8] = include_bytes!("golden/full.safetensors");
const PLAIN: &[u8] = include_bytes!("golden/plain.safetensors");
const FRAMES: &[u8] = include_bytes!("golden/frames.safetensors");

fn decoder() -> Decoder {
    Decoder::from_safetensors(FULL).unwrap()
}

/// Latents and PyTorch's planes of a frame: of a golden decoder, at a size.
fn golden(file: &str, width: usize, height: usize) -> (Vec<u8>, Array3<f32>) {
    named(&format!("{file}.{width}x{height}"), width, height)
}

fn named(name: &str, width: usize, height: usize) -> (Vec<u8>, Array3<f32>) {
    let frames = SafeTensors::deserialize(FRAMES).unwrap();
    let tensor = |part| frames.tensor(&format!("{name}.{part}")).unwrap();
    let planes = tensor("planes");
    let (values, _) = planes.data().as_chunks::<4>();
    let values = values
        .iter()
        .map(|&value| f32::from_le_bytes(value))
        .collect();
    let planes = Array3::from_shape_vec((3, height, width), values).unwrap();
    (tensor("latents").data().to_vec(), planes)
}

fn frame(width: usize, height: usize) -> (Vec<u8>, Array3<f32>) {
    golden("full", width, height)
}

/// By how much values may differ from PyTorch's: by rounding, in `f32` or in bf16.
fn tolerance(path: &str) -> f32 {
    if path == "amxbf16" { 0.03 } else { 1e-4 }
}

#[test]
fn planes_match_pytorch() {
    for (file, bytes, width, height) in [
        ("full", FULL, 96, 64),
        ("full", FULL, 70, 45),
        ("plain", PLAIN, 70, 45),
    ] {
        let (latents, expected) = golden(file, width, height);
        let spread = expected.std(0.0);
        assert!(spread > 0.1, "the golden frame is flat: {spread}");
        for kernel in Kernel::available() {
            let decoder = Decoder::with_kernel(bytes, kernel).unwrap().unwrap();
            let actual = decoder
                .decode_planes(&latents, width as u32, height as u32)
                .unwrap();
            assert_eq!(actual.dim(), expected.dim());
            let worst = (&actual - &expected).abs().fold(0.0f32, |a, &b| a.max(b));
            let limit = tolerance(kernel.name());
            assert!(
                worst < limit,
                "{kernel}: {file} {width}x{height}: off by {worst}"
            );
        }
    }
}

#[test]
fn a_prefix_of_the_bits_decodes_as_in_pytorch() {
    let (latents, expected) = named("full.prefix", 70, 45);
    let decoder = decoder();
    assert_eq!(decoder.rates(), [8, 16]);
    let actual = decoder.decode_planes(&latents, 70, 45).unwrap();
    let worst = (&actual - &expected).abs().fold(0.0f32, |a, &b| a.max(b));
    assert!(worst < tolerance(decoder.path()), "off by {worst}");
    let (whole, _) = frame(70, 45);
    let whole = decoder.decode_planes(&whole, 70, 45).unwrap();
    assert_ne!(actual, whole, "the bits left out show");
}

#[test]
fn bytes_are_the_planes_rounded_half_to_even() {
    let (latents, _) = frame(70, 45);
    let planes = decoder().decode_planes(&latents, 70, 45).unwrap();
    let rgb = decoder().decode(&latents, 70, 45).unwrap();
    let interleaved = planes.view().permuted_axes([1, 2, 0]);
    let expected: Vec<u8> = interleaved
        .iter()
        .map(|v| (v.clamp(0.0, 1.0) * 255.0).round_ties_even() as u8)
        .collect();
    assert_eq!(rgb, expected);
    for channel in planes.axis_iter(Axis(0)) {
        assert!(
            channel.iter().any(|&v| v < 0.0) && channel.iter().any(|&v| v > 1.0),
            "never clamps"
        );
    }
}

#[test]
fn the_frame_does_not_depend_on_the_number_of_threads() {
    let (latents, _) = frame(96, 64);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| decoder().decode_planes(&latents, 96, 64).unwrap())
    };
    assert_eq!(with(1), with(3));
}

#[test]
fn a_smaller_frame_is_the_larger_one_cropped() {
    let (latents, _) = frame(96, 64);
    let whole = decoder().decode(&latents, 96, 64).unwrap();
    let cropped = decoder().decode(&latents, 65, 33).unwrap();
    for y in 0..33 {
        assert_eq!(
            cropped[y * 65 * 3..][..65 * 3],
            whole[y * 96 * 3..][..65 * 3],
            "row {y}"
        );
    }
}

#[test]
fn extreme_sizes_decode() {
    for (width, height) in [(1, 1), (1, 33), (16_384, 1), (1, 16_384)] {
        let patches = (width as usize).div_ceil(32) * (height as usize).div_ceil(32);
        let rgb = decoder()
            .decode(&vec![0x5a; patches * 2], width, height)
            .unwrap();
        assert_eq!(
            rgb.len(),
            width as usize * height as usize * 3,
            "{width}x{height}"
        );
    }
}

#[test]
fn wrong_sizes_are_refused() {
    let decode = |bytes, width, height| decoder().decode(&vec![0; bytes], width, height);
    for (width, height) in [(0, 32), (32, 0), (16_385, 1), (1, u32::MAX)] {
        assert_eq!(
            decode(2, width, height),
            Err(DecodeError::Size { width, height })
        );
    }
    for found in [0, 11, 13] {
        let refused = DecodeError::Length {
            found,
            expected: vec![6, 12],
            width: 96,
            height: 64,
        };
        assert_eq!(decode(found, 96, 64), Err(refused));
    }
}

#[test]
fn the_fastest_path_is_taken_unless_asked() {
    let decoder = decoder();
    println!("path: {}", decoder.path());
    let available: Vec<_> = Kernel::available().into_iter().map(Kernel::name).collect();
    let asked = std::env::var("PURENET_PATH")
        .ok()
        .filter(|asked| available.contains(&asked.as_str()));
    assert_eq!(
        decoder.path(),
        asked.as_deref().unwrap_or(available[available.len() - 1])
    );
}

/// As `docs/performance.md` has it: linear in the width, and beyond some rows of patches not of the height.
#[test]
fn memory_grows_with_the_width_alone() {
    for kernel in Kernel::available() {
        let decoder = Decoder::with_kernel(patchwire_models::DECODER, kernel);
        let decoder = decoder.unwrap().unwrap();
        let at = |width, height| decoder.map_bytes(width, height) as f64;
        println!(
            "{kernel}: {:?}",
            [1280, 1920, 3840, 7680].map(|width| at(width, width * 9 / 16) / 1e6)
        );
        assert_eq!(at(7680, 4320), at(7680, 2160));
        assert!(at(7680, 32) < at(7680, 720));
        let a_pixel = (at(7680, 4320) - at(3840, 4320)) / 3840.0;
        for width in [640, 1280, 4096, 16_384] {
            // The first stage works ahead where rows are short.
            let linear = at(7680, 4320) + (f64::from(width) - 7680.0) * a_pixel;
            let ahead = at(width, 4320) - linear;
            assert!(
                (0.0..8e6).contains(&ahead),
                "{kernel}, {width}: {ahead} more"
            );
        }
        let most = if kernel == Kernel::AmxBf16 {
            60e3
        } else {
            100e3
        };
        assert!(a_pixel < most, "{kernel}: {a_pixel} bytes a pixel of width");
    }
}

#[test]
fn the_figures_of_the_network_are_right() {
    let decoder = decoder();
    assert_eq!(decoder.bits(), 16);
    assert_eq!(decoder.program(), std::array::from_fn(|i| i as u8));
    let weights = [
        8 * 16,
        3072 * 8,
        16 * 48 * 9,
        2 * 256 * 25,
        72 * 16,
        12 * 18 * 9,
        2 * 324 * 9,
        12 * 18 * 25,
    ];
    let biases = 8 + 3072 + 16 + 2 * 16 + 72 + 18 + 2 * 18 + 12;
    assert_eq!(decoder.parameters(), weights.iter().sum::<u64>() + biases);
    let uses = [1, 1, 64, 64, 64, 256, 256, 256];
    let macs: u64 = weights
        .iter()
        .zip(uses)
        .map(|(weights, uses)| weights * uses)
        .sum();
    assert_eq!(decoder.macs_per_pixel(), macs as f64 / 1024.0);
}
