//! Decoded frames against those of the NumPy model (`patchwire_training.integers.golden`), with every kernel.

use kernels::Kernel;
use proptest::prelude::*;
use purenet::{DecodeError, Decoder};
use safetensors::SafeTensors;

const FULL: &[u8] = include_bytes!("golden/full.safetensors");
const PLAIN: &[u8] = include_bytes!("golden/plain.safetensors");
const FRAMES: &[u8] = include_bytes!("golden/frames.safetensors");

fn decoder() -> Decoder {
    Decoder::from_safetensors(FULL).unwrap()
}

/// The values of a case's tensor, and its shape.
fn golden(case: &str, part: &str) -> (Vec<u8>, Vec<usize>) {
    let frames = SafeTensors::deserialize(FRAMES).unwrap();
    let tensor = frames.tensor(&format!("{case}.{part}")).unwrap();
    (tensor.data().to_vec(), tensor.shape().to_vec())
}

/// Fails at the first pixel that differs.
#[track_caller]
fn same(found: &[u8], case: &str, name: impl std::fmt::Display) {
    let (expected, shape) = golden(case, "frame");
    assert_eq!(found.len(), expected.len(), "{case}, {name}");
    let different = found.iter().zip(&expected).position(|(a, b)| a != b);
    if let Some(at) = different {
        let (y, x) = (at / 3 / shape[1], at / 3 % shape[1]);
        let count = found.iter().zip(&expected).filter(|(a, b)| a != b).count();
        panic!(
            "{case}, {name}: {count} of {} bytes differ, the first in row {y}, column {x}: {}, not {}",
            found.len(),
            found[at],
            expected[at]
        );
    }
}

#[test]
fn frames_are_those_of_the_model() {
    for (bytes, case) in [
        (FULL, "full.96x64"),
        (FULL, "full.70x45"),
        (FULL, "full.prefix"),
        (PLAIN, "plain.96x64"),
        (PLAIN, "plain.70x45"),
    ] {
        let (latents, _) = golden(case, "latents");
        let (frame, shape) = golden(case, "frame");
        assert!(
            frame.contains(&0) && frame.contains(&255),
            "{case} never clips"
        );
        let (width, height) = (shape[1] as u32, shape[0] as u32);
        for kernel in Kernel::available() {
            let decoder = Decoder::with_kernel(bytes, kernel).unwrap().unwrap();
            assert_eq!(decoder.kernel(), kernel);
            same(
                &decoder.decode(&latents, width, height).unwrap(),
                case,
                kernel,
            );
        }
    }
}

#[test]
fn a_prefix_for_each_patch_gives_the_frame_of_the_model() {
    let (latents, _) = golden("full.mixed", "latents");
    let (bits, _) = golden("full.mixed", "bits");
    let (bits, _) = bits.as_chunks();
    let bits: Vec<u16> = bits.iter().map(|&bits| u16::from_le_bytes(bits)).collect();
    let decoder = decoder();
    assert_eq!(decoder.rates(), [8, 16, 24]);
    assert!(bits.windows(2).any(|pair| pair[0] != pair[1]));
    let frame = decoder.decode_mixed(&latents, &bits, 96, 64).unwrap();
    same(&frame, "full.mixed", decoder.kernel());
    let refused = decoder.decode_mixed(&latents[1..], &bits, 96, 64);
    assert!(
        matches!(refused, Err(DecodeError::Mixed { .. })),
        "{refused:?}"
    );
    let refused = decoder.decode_mixed(&latents, &bits[1..], 96, 64);
    assert!(
        matches!(refused, Err(DecodeError::Mixed { .. })),
        "{refused:?}"
    );
    let allowed = vec![8, 16, 24];
    let refused = decoder.decode_mixed(&[0; 7], &[8, 8, 12, 8, 8, 8], 96, 64);
    assert_eq!(refused, Err(DecodeError::Prefix { found: 12, allowed }));
}

#[test]
fn equal_prefixes_decode_as_those_of_all_patches() {
    let (latents, _) = golden("full.prefix", "latents");
    let decoder = decoder();
    let mixed = decoder.decode_mixed(&latents, &[8; 6], 70, 45).unwrap();
    same(&mixed, "full.prefix", "prefix by prefix");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Frames of shipped size, whose rows are cut to pieces: the same with every kernel and number of threads.
    #[test]
    fn kernels_and_threads_do_not_show(
        width in 1..700u32, height in 1..100u32, threads in 1..7usize, seed: u64, fast: bool
    ) {
        let bytes = if fast { patchwire_models::FAST_DECODER } else { FULL };
        let expected = Decoder::from_safetensors(bytes).unwrap();
        let patch = expected.bits() as usize / 8;
        let patches = (width.div_ceil(32) * height.div_ceil(32)) as usize;
        let latents: Vec<u8> = (0..patches * patch)
            .map(|at| ((at as u64 + 1).wrapping_mul(seed | 1) >> 29) as u8)
            .collect();
        let frame = expected.decode(&latents, width, height).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for kernel in Kernel::available() {
            if kernel == Kernel::Scalar && fast {
                continue; // minutes
            }
            let decoder = Decoder::with_kernel(bytes, kernel).unwrap().unwrap();
            let other = pool.install(|| decoder.decode(&latents, width, height).unwrap());
            prop_assert!(other == frame, "{} with {} threads differs", kernel, threads);
        }
    }
}

#[test]
fn a_smaller_frame_is_the_larger_one_cropped() {
    let (latents, _) = golden("full.96x64", "latents");
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
        let latents = vec![0x5a; patches * 3];
        let rgb = decoder().decode(&latents, width, height).unwrap();
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
    for found in [0, 11, 19] {
        let refused = DecodeError::Length {
            found,
            expected: vec![6, 12, 18],
            width: 96,
            height: 64,
        };
        assert_eq!(decode(found, 96, 64), Err(refused));
    }
}

#[test]
fn a_decode_that_is_stopped_ends_between_rows_and_the_next_one_is_right() {
    let decoder = decoder();
    // So wide that each row of patches passes alone; it is asked before it is synthesized, and before it passes.
    let (width, height) = (16_384, 128);
    let latents = vec![0x3c; (width * height / 1024) as usize * 3];
    let asked = std::cell::Cell::new(0);
    let twice = || {
        asked.set(asked.get() + 1);
        asked.get() <= 2
    };
    let stopped = decoder.decode_while(&latents, width, height, &twice);
    assert_eq!(stopped.expect_err("stopped"), DecodeError::Stopped);
    assert_eq!(asked.get(), 3, "it went on after it was to stop");
    let whole = decoder.decode_while(&latents, width, height, &|| true);
    let fresh = Decoder::from_safetensors(FULL).unwrap();
    assert!(
        whole == fresh.decode(&latents, width, height),
        "rows differ"
    );
}

#[test]
fn the_kernel_is_the_fastest_unless_asked() {
    let available = Kernel::available();
    let asked = std::env::var(kernels::VARIABLE).ok();
    let asked = available
        .iter()
        .find(|kernel| Some(kernel.name()) == asked.as_deref());
    assert_eq!(Some(&decoder().kernel()), asked.or(available.last()));
}

/// As `docs/performance.md` has it: linear in the width, and beyond some rows of patches not of the height.
#[test]
fn memory_grows_with_the_width_alone() {
    let decoder = Decoder::from_safetensors(patchwire_models::DECODER).unwrap();
    let at = |width, height| decoder.map_bytes(width, height) as f64;
    println!(
        "{:?}",
        [1280, 1920, 3840, 7680].map(|width| at(width, width * 9 / 16) / 1e6)
    );
    assert_eq!(at(7680, 4320), at(7680, 2160));
    assert!(at(7680, 32) < at(7680, 720));
    let a_pixel = (at(7680, 4320) - at(3840, 4320)) / 3840.0;
    for width in [640, 1280, 4096, 16_384] {
        // The first stage works ahead where rows are short.
        let linear = at(7680, 4320) + (f64::from(width) - 7680.0) * a_pixel;
        let ahead = at(width, 4320) - linear;
        assert!((0.0..6e6).contains(&ahead), "{width}: {ahead} more");
    }
    assert!(a_pixel < 50e3, "{a_pixel} bytes a pixel of width");
}

#[test]
fn the_figures_of_the_network_are_right() {
    let decoder = decoder();
    assert_eq!(decoder.bits(), 24);
    assert_eq!(decoder.program(), std::array::from_fn(|i| i as u8));
    let weights = [
        9 * 24,
        3072 * 9,
        19 * 48 * 9,
        2 * 19 * 19 * 25,
        84 * 19,
        21 * 12 * 9,
        2 * 21 * 21 * 9,
        12 * 21 * 25,
    ];
    let biases = 9 + 3072 + 19 + 2 * 19 + 84 + 21 + 2 * 21 + 12;
    assert_eq!(decoder.parameters(), weights.iter().sum::<u64>() + biases);
    let uses = [1, 1, 64, 64, 64, 256, 256, 256];
    let macs: u64 = weights
        .iter()
        .zip(uses)
        .map(|(weights, uses)| weights * uses)
        .sum();
    assert_eq!(decoder.macs_per_pixel(), macs as f64 / 1024.0);
}
