//! Decoded frames against PyTorch's; see `golden/make_golden.py`.

use ndarray::{Array3, Axis};
use purenet::{DecodeError, Decoder};
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

#[test]
fn planes_match_pytorch() {
    for (file, bytes, width, height) in [
        ("full", FULL, 96, 64),
        ("full", FULL, 70, 45),
        ("plain", PLAIN, 70, 45),
    ] {
        let (latents, expected) = golden(file, width, height);
        let decoder = Decoder::from_safetensors(bytes).unwrap();
        let actual = decoder
            .decode_planes(&latents, width as u32, height as u32)
            .unwrap();
        assert_eq!(actual.dim(), expected.dim());
        let spread = expected.std(0.0);
        assert!(spread > 0.1, "the golden frame is flat: {spread}");
        let worst = (&actual - &expected).abs().fold(0.0f32, |a, &b| a.max(b));
        assert!(worst < 1e-4, "{file} {width}x{height}: off by {worst}");
    }
}

#[test]
fn a_prefix_of_the_bits_decodes_as_in_pytorch() {
    let (latents, expected) = named("full.prefix", 70, 45);
    let decoder = decoder();
    assert_eq!(decoder.rates(), [8, 16]);
    let actual = decoder.decode_planes(&latents, 70, 45).unwrap();
    let worst = (&actual - &expected).abs().fold(0.0f32, |a, &b| a.max(b));
    assert!(worst < 1e-4, "off by {worst}");
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
