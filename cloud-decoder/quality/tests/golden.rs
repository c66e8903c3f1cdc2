//! Metrics against scikit-image and pytorch-msssim; see `golden/make_golden.py`.

use quality::{QualityError, measure, ms_ssim, psnr, seam_ratio, ssim};
use serde_json::Value;
use std::path::Path;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"))
}

fn load(name: &Value) -> (Vec<u8>, u32, u32) {
    let path = folder().join(format!("{}.png", name.as_str().unwrap()));
    let image = image::ImageReader::open(path)
        .unwrap()
        .decode()
        .unwrap()
        .into_rgb8();
    let (width, height) = image.dimensions();
    (image.into_raw(), width, height)
}

#[track_caller]
fn assert_close(what: &str, actual: Option<f64>, expected: &Value, tolerance: f64) {
    match (actual, expected.as_f64()) {
        (Some(actual), Some(expected)) => {
            assert!(
                (actual - expected).abs() <= tolerance,
                "{what}: {actual}, not {expected}"
            )
        }
        (actual, expected) => assert_eq!(actual, expected, "{what}"),
    }
}

#[test]
fn all_metrics_match_the_reference_implementations() {
    let json = std::fs::read(folder().join("golden.json")).unwrap();
    let pairs: Vec<Value> = serde_json::from_slice(&json).unwrap();
    assert_eq!(pairs.len(), 5);
    for pair in pairs {
        let (original, width, height) = load(&pair["original"]);
        let (reconstruction, ..) = load(&pair["reconstruction"]);
        let quality = measure(&original, &reconstruction, width, height).unwrap();
        let psnr_db = pair["psnr_db"].as_f64().unwrap();
        let figures = [
            ("psnr_db", Some(quality.psnr_db), 1e-6 * psnr_db),
            ("ssim", Some(quality.ssim), 1e-6),
            ("ms_ssim", quality.ms_ssim, 1e-6),
            ("seam_ratio", quality.seam_ratio, 1e-9),
            ("original_seam_ratio", quality.original_seam_ratio, 1e-9),
        ];
        for (name, actual, tolerance) in figures {
            let what = format!("{name} of {}", pair["reconstruction"]);
            assert_close(&what, actual, &pair[name], tolerance);
        }
        let (a, b) = (&original[..], &reconstruction[..]);
        assert_eq!(psnr(a, b, width, height), Ok(quality.psnr_db));
        assert_eq!(ssim(a, b, width, height), Ok(quality.ssim));
        assert_eq!(ms_ssim(a, b, width, height), Ok(quality.ms_ssim));
        assert_eq!(seam_ratio(b, width, height, 32), Ok(quality.seam_ratio));
    }
}

#[test]
fn equal_images_are_perfect() {
    let (image, width, height) = load(&Value::from("scene"));
    let quality = measure(&image, &image, width, height).unwrap();
    assert_eq!(quality.psnr_db, f64::INFINITY);
    assert!((quality.ssim - 1.0).abs() < 1e-12, "{}", quality.ssim);
    assert!((quality.ms_ssim.unwrap() - 1.0).abs() < 1e-12);
    assert_eq!(quality.seam_ratio, quality.original_seam_ratio);
}

#[test]
fn the_answer_does_not_depend_on_the_number_of_threads() {
    let (original, width, height) = load(&Value::from("odd"));
    let (reconstruction, ..) = load(&Value::from("odd-blocky"));
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| measure(&original, &reconstruction, width, height).unwrap())
    };
    assert_eq!(with(1), with(3));
}

#[test]
fn frames_without_inner_borders_have_no_seam_ratio_and_flat_ones_have_one() {
    let gray = |width: u32, height: u32| vec![90; (width * height * 3) as usize];
    assert_eq!(seam_ratio(&gray(32, 32), 32, 32, 32), Ok(None));
    assert_eq!(seam_ratio(&gray(33, 32), 33, 32, 32), Ok(Some(1.0)));
    assert_eq!(seam_ratio(&gray(5, 64), 5, 64, 32), Ok(Some(1.0)));
    // One step of 16 gray levels on the only border, nothing inside: 16 / (1/16).
    let step: Vec<u8> = (0..64 * 4)
        .flat_map(|i| [if i % 64 < 32 { 90 } else { 106 }; 3])
        .collect();
    let ratio = seam_ratio(&step, 64, 4, 32).unwrap().unwrap();
    assert!((ratio - 256.0).abs() < 1e-6, "{ratio}");
}

#[test]
fn any_nonempty_size_is_measured() {
    for (width, height) in [
        (1, 1),
        (1, 40),
        (10, 11),
        (11, 11),
        (175, 176),
        (176, 176),
        (177, 351),
    ] {
        let bytes = width as usize * height as usize * 3;
        let first: Vec<u8> = (0..bytes).map(|i| (i * 31 % 251) as u8).collect();
        let second: Vec<u8> = first.iter().map(|v| v ^ 5).collect();
        let quality = measure(&first, &second, width, height).unwrap();
        assert!(
            (0.0..1.0).contains(&quality.ssim),
            "{width}x{height}: {quality:?}"
        );
        assert_eq!(
            quality.ms_ssim.is_some(),
            width.min(height) >= 176,
            "{width}x{height}"
        );
        assert!(
            quality
                .ms_ssim
                .is_none_or(|value| (0.0..1.0).contains(&value)),
            "{quality:?}"
        );
    }
}

#[test]
fn wrong_sizes_are_named() {
    let length = |image, actual| QualityError::Length {
        image,
        width: 2,
        height: 2,
        actual,
    };
    assert_eq!(psnr(&[0; 11], &[0; 12], 2, 2), Err(length("first", 11)));
    assert_eq!(ssim(&[0; 12], &[0; 13], 2, 2), Err(length("second", 13)));
    assert_eq!(seam_ratio(&[], 2, 2, 32), Err(length("only", 0)));
    let empty = QualityError::Empty {
        width: 0,
        height: u32::MAX,
    };
    assert_eq!(measure(&[], &[], 0, u32::MAX), Err(empty));
    let huge = QualityError::Length {
        image: "first",
        width: u32::MAX,
        height: u32::MAX,
        actual: 3,
    };
    assert_eq!(ms_ssim(&[0; 3], &[0; 3], u32::MAX, u32::MAX), Err(huge));
    assert_eq!(
        seam_ratio(&[0; 3], 1, 1, 1),
        Err(QualityError::Patch { patch: 1 })
    );
}
