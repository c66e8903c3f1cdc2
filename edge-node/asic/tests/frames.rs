//! Whole frames: edge replication, exact averaging, any size, any number of threads.

mod common;

use std::sync::Arc;

use common::{Noise, WHOLE, conv};
use nqe::{
    ConvSpec, Emulator, FrameError, Output, OutputKind, PATCH_BYTES, Pool, Program, ProgramBuilder,
    Task,
};
use proptest::prelude::*;

fn compressor() -> Arc<Program> {
    let mut builder = ProgramBuilder::new(Task::Compress, "compressor", Vec::new()).unwrap();
    let hidden = ConvSpec {
        kernel_height: 3,
        kernel_width: 3,
        padding: 1,
        output: OutputKind::Codes,
        shift: 8,
        ..WHOLE
    };
    conv(&mut builder, hidden, &mut Noise(3)).unwrap();
    builder
        .pool(Pool {
            kernel: 4,
            stride: 4,
        })
        .unwrap();
    conv(
        &mut builder,
        ConvSpec {
            kernel_height: 8,
            kernel_width: 8,
            ..WHOLE
        },
        &mut Noise(4),
    )
    .unwrap();
    Arc::new(builder.finish().unwrap())
}

/// A classifier whose logit i is byte `places[i]` of the 32x32x3 patch it sees.
fn probe(places: &[usize]) -> Arc<Program> {
    let labels = places.iter().map(|place| format!("byte {place}")).collect();
    let mut builder = ProgramBuilder::new(Task::Classify, "probe", labels).unwrap();
    let mut weights = vec![0; places.len() * PATCH_BYTES];
    for (channel, place) in places.iter().enumerate() {
        weights[channel * PATCH_BYTES + place] = 1;
    }
    let spec = ConvSpec {
        out_channels: places.len() as u32,
        output: OutputKind::Logits,
        ..WHOLE
    };
    builder.conv(spec, weights, vec![0; places.len()]).unwrap();
    Arc::new(builder.finish().unwrap())
}

/// The patch whose top left corner is (top, left), pixel by pixel.
fn patch(rgb: &[u8], width: usize, height: usize, top: usize, left: usize) -> Vec<u8> {
    let at =
        |y: usize, x: usize, c: usize| rgb[(y.min(height - 1) * width + x.min(width - 1)) * 3 + c];
    (0..PATCH_BYTES)
        .map(|i| at(top + i / 96, left + i / 3 % 32, i % 3))
        .collect()
}

/// One byte of the averaged patch, counted over a frame enlarged 32 times, where cells hold whole pixels.
fn averaged(rgb: &[u8], width: usize, height: usize, place: usize) -> i32 {
    let (i, j, channel) = (place / 96, place / 3 % 32, place % 3);
    let mut sum = 0.0;
    for y in i * height..(i + 1) * height {
        for x in j * width..(j + 1) * width {
            sum += f64::from(rgb[(y / 32 * width + x / 32) * 3 + channel]);
        }
    }
    (sum / (width * height) as f64 + 0.5).floor() as i32
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn a_frame_is_its_patches(width in 1usize..100, height in 1usize..100, seed: u64) {
        let emulator = Emulator::new(compressor());
        let rgb = Noise(seed).bytes(width * height * 3);
        let mut expected = Vec::new();
        for top in (0..height).step_by(32) {
            for left in (0..width).step_by(32) {
                match emulator.run_patch(&patch(&rgb, width, height, top, left)).unwrap() {
                    Output::Bits(bits) => expected.extend(bits),
                    Output::Logits(_) => prop_assert!(false, "a compressor made logits"),
                }
            }
        }
        prop_assert_eq!(emulator.encode_frame(&rgb, width as u32, height as u32).unwrap(), expected);
    }

    #[test]
    fn a_classifier_sees_the_exact_average(
        width in 1usize..90,
        height in 1usize..90,
        places in prop::collection::vec(0..PATCH_BYTES, 16),
        seed: u64,
    ) {
        let rgb = Noise(seed).bytes(width * height * 3);
        let logits = Emulator::new(probe(&places)).classify_frame(&rgb, width as u32, height as u32).unwrap();
        let expected: Vec<i32> = places.iter().map(|&place| averaged(&rgb, width, height, place)).collect();
        prop_assert_eq!(logits, expected);
    }
}

#[test]
fn a_frame_of_32x32_is_classified_as_it_is() {
    let rgb = Noise(7).bytes(PATCH_BYTES);
    let places: Vec<usize> = (0..PATCH_BYTES).step_by(61).collect();
    let logits = Emulator::new(probe(&places))
        .classify_frame(&rgb, 32, 32)
        .unwrap();
    assert_eq!(
        logits,
        places
            .iter()
            .map(|&place| i32::from(rgb[place]))
            .collect::<Vec<_>>()
    );
}

#[test]
fn threads_do_not_change_the_result() {
    let (width, height) = (333, 190);
    let rgb = Noise(8).bytes(width * height * 3);
    let emulators = [
        Emulator::new(compressor()),
        Emulator::new(probe(&[0, 1500, 3071])),
    ];
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let latents = emulators[0]
                .encode_frame(&rgb, width as u32, height as u32)
                .unwrap();
            (
                latents,
                emulators[1]
                    .classify_frame(&rgb, width as u32, height as u32)
                    .unwrap(),
            )
        })
    };
    let one = with(1);
    assert_eq!(one.0.len(), 11 * 6 * 2);
    for threads in [2, 3, 7] {
        assert!(
            with(threads) == one,
            "{threads} threads gave another result"
        );
    }
}

#[test]
fn bad_frames_are_refused() {
    let compressor = Emulator::new(compressor());
    let classifier = Emulator::new(probe(&[0]));
    let message = |error: FrameError| error.to_string();
    assert_eq!(
        compressor.encode_frame(&[], 0, 5).map_err(message),
        Err("the frame is 0x5 pixels, allowed: sides of at least 1".into())
    );
    assert_eq!(
        compressor.encode_frame(&[0; 11], 2, 2).map_err(message),
        Err("the frame is 2x2 pixels and holds 11 bytes, allowed: 12".into())
    );
    let huge = classifier.classify_frame(&[0; 3], u32::MAX, u32::MAX);
    assert!(
        matches!(huge, Err(FrameError::FrameLength { found: 3, .. })),
        "{huge:?}"
    );
    assert_eq!(
        classifier.encode_frame(&[0; 12], 2, 2).map_err(message),
        Err("the program does classification, this call needs one for compression".into())
    );
    assert_eq!(
        compressor.classify_frame(&[0; 12], 2, 2),
        Err(FrameError::Task {
            found: Task::Compress,
            needed: Task::Classify
        })
    );
    assert_eq!(
        compressor.run_patch(&[0; 12]),
        Err(FrameError::PatchLength { found: 12 })
    );
}
