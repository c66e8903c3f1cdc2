//! Decoders against each other, the definition and real photographs.

use super::*;
use amx::Amx;

#[test]
fn a_decode_that_is_stopped_ends_between_rows_and_the_next_one_is_right() {
    let bytes = include_bytes!("../../tests/golden/full.safetensors");
    let decoder = Decoder::from_safetensors(bytes).expect("it loads");
    // So wide that each row of patches passes alone; it is asked before it is synthesized, and before it passes.
    let (width, height) = (MAX_SIDE, 128);
    let latents = vec![0x3c; (width * height / 1024) as usize * 2];
    let asked = std::cell::Cell::new(0);
    let twice = || {
        asked.set(asked.get() + 1);
        asked.get() <= 2
    };
    let stopped = decoder.decode_while(&latents, width, height, &twice);
    assert_eq!(stopped.expect_err("stopped"), DecodeError::Stopped);
    assert_eq!(asked.get(), 3, "it went on after it was to stop");
    let whole = decoder.decode_while(&latents, width, height, &|| true);
    let fresh = Decoder::from_safetensors(bytes).expect("it loads");
    assert!(
        whole == fresh.decode(&latents, width, height),
        "rows differ"
    );
}

#[test]
fn instruction_sets_agree() {
    let bytes = include_bytes!("../../tests/golden/full.safetensors");
    let latents = [0x3c; 3 * 2 * 2];
    let decode = |kernel| {
        let decoder = Decoder::with_kernel(bytes, kernel).expect("it loads");
        let decoder = decoder.expect("an available kernel is there");
        decoder.decode_planes(&latents, 70, 45).expect("it decodes")
    };
    let portable = decode(Kernel::Portable);
    for kernel in Kernel::available() {
        let limit = if kernel == Kernel::AmxBf16 {
            0.02
        } else {
            1e-4
        };
        let worst = (&decode(kernel) - &portable)
            .abs()
            .fold(0.0f32, |a, &b| a.max(b));
        assert!(worst < limit, "{kernel}: off by {worst}");
    }
}

/// The path on AMX tiles, in plain code where the machine has none.
fn on_tiles(bytes: &[u8]) -> Decoder {
    let (amx, isa) = (Amx::detect().unwrap_or(Amx::emulated()), Isa::best());
    let choice = Choice::Tiles(Tiles { amx, isa });
    Decoder::load(bytes, Kernel::AmxBf16, choice).expect("it loads")
}

/// Against the definition on photographs, coded by the shipped program: only visible differences matter.
#[test]
fn photographs_come_out_of_tiles_as_they_do_in_full_precision() {
    let encoder = nqe::Program::from_bytes(patchwire_models::COMPRESS).expect("it loads");
    let encoder = nqe::Emulator::new(encoder.into());
    let fastest = Kernel::available()
        .into_iter()
        .rfind(|&kernel| kernel != Kernel::AmxBf16);
    let full = fastest.expect("there is the portable one");
    let full = Decoder::with_kernel(patchwire_models::DECODER, full).expect("it loads");
    let full = full.expect("it is available");
    let tiles = on_tiles(patchwire_models::DECODER);
    let change = |name: &str| {
        let path = format!(
            "{}/../../cli/samples/{name}.jpg",
            env!("CARGO_MANIFEST_DIR")
        );
        let photograph = image::ImageReader::open(path)
            .expect("it is there")
            .decode();
        let photograph = photograph
            .expect("it decodes")
            .crop_imm(96, 64, 200, 130)
            .into_rgb8();
        let (width, height) = photograph.dimensions();
        let latents = encoder
            .encode_frame(&photograph, width, height)
            .expect("a frame");
        let psnr = |decoder: &Decoder| {
            let planes = decoder
                .decode_planes(&latents, width, height)
                .expect("it decodes");
            let planes = planes.permuted_axes([1, 2, 0]);
            let values = planes.iter().zip(photograph.as_raw());
            let squares = values.map(|(&decoded, &value)| {
                (f64::from(decoded.clamp(0.0, 1.0)) - f64::from(value) / 255.0).powi(2)
            });
            -10.0 * (squares.sum::<f64>() / f64::from(3 * width * height)).log10()
        };
        psnr(&tiles) - psnr(&full)
    };
    let names = [
        "canyon", "dogs", "facade", "fig", "hillside", "lake", "mountain", "sign",
    ];
    let changes = names.map(change);
    println!("{changes:.4?} dB");
    let mean = changes.iter().sum::<f64>() / changes.len() as f64;
    assert!(mean.abs() < 0.02, "PSNR changes by {mean} dB: {changes:?}");
    let worst = changes
        .iter()
        .fold(0.0f64, |worst, change| worst.max(change.abs()));
    assert!(worst < 0.05, "PSNR changes by {worst} dB: {changes:?}");
}

#[test]
fn frames_on_tiles_are_near_full_precision_and_the_same_on_any_threads() {
    let bytes = include_bytes!("../../tests/golden/full.safetensors");
    let latents = [0x3c; 9 * 2 * 2];
    let decode = |decoder: &Decoder, threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.expect("threads start");
        pool.install(|| decoder.decode_planes(&latents, 280, 64))
            .expect("it decodes")
    };
    let tiles = on_tiles(bytes);
    let decoded = decode(&tiles, 1);
    assert_eq!(decoded, decode(&tiles, 3));
    let full = Decoder::load(bytes, Kernel::Portable, Choice::Full(Isa::Portable));
    let full = decode(&full.expect("it loads"), 1);
    let worst = (&decoded - &full).abs().fold(0.0f32, |a, &b| a.max(b));
    println!("off by {worst}");
    assert!((1e-5..0.03).contains(&worst), "off by {worst}");
}
