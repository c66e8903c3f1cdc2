//! `evaluate` with the shipped models.

mod common;

use std::path::Path;
use std::sync::Arc;

use common::keys;
use nqe::{Emulator, Program};
use serde_json::Value;

#[test]
fn figures_are_those_of_encode_and_decode() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::create_dir(folder.path().join("images")).expect("folder can be made");
    for name in ["fig.jpg", "dogs.jpg"] {
        let copy = folder.path().join("images").join(name);
        std::fs::copy(common::samples().join(name), copy).expect("sample can be copied");
    }
    std::fs::write(path("images/notes.txt"), "not an image").expect("file can be written");

    let output = common::patchwire(["evaluate", "--images", &path("images"), "--json", "-"]);
    assert!(output.status.success());
    let json: Value = serde_json::from_slice(&output.stdout).expect("only JSON on stdout");
    let table = String::from_utf8_lossy(&output.stderr);
    assert!(
        table.contains("fig.jpg") && table.contains("mean"),
        "{table}"
    );

    assert_eq!(keys(&json), ["images", "mean", "program"]);
    let images = json["images"].as_array().expect("a list");
    assert_eq!(images.len(), 2);
    let figures = ["bpp", "ms_ssim", "psnr_db", "seam_ratio", "ssim"];
    assert_eq!(keys(&json["mean"]), figures);
    for name in figures {
        let values: Vec<f64> = images.iter().map(|i| number(&i[name])).collect();
        let mean = (values[0] + values[1]) / 2.0;
        assert!((number(&json["mean"][name]) - mean).abs() < 1e-9, "{name}");
    }
    let program = Program::from_bytes(patchwire_models::COMPRESS).expect("shipped program");
    assert_eq!(json["program"]["id"], program.id().to_string());
    assert_eq!(json["program"]["bits"], program.memory().total());

    let fig = &images[1];
    assert_eq!(
        keys(fig),
        [
            "bpp",
            "height",
            "ms_ssim",
            "name",
            "psnr_db",
            "seam_ratio",
            "ssim",
            "width"
        ]
    );
    assert_eq!(fig["name"], "fig.jpg");
    assert_eq!((&fig["width"], &fig["height"]), (&768.into(), &512.into()));
    assert_eq!(number(&fig["bpp"]), 0.25);

    common::succeeds(["encode", &path("images/fig.jpg"), "-o", &path("fig.pwl")]);
    common::succeeds(["decode", &path("fig.pwl"), "-o", &path("fig.png")]);
    let (original, width, height) = common::pixels(Path::new(&path("images/fig.jpg")));
    let (rebuilt, ..) = common::pixels(Path::new(&path("fig.png")));
    let psnr = quality::psnr(&original, &rebuilt, width, height).expect("same size");
    assert!((number(&fig["psnr_db"]) - psnr).abs() < 1e-9);
}

#[test]
fn an_undefined_figure_is_null_and_not_in_the_mean() {
    let folder = tempfile::tempdir().expect("temporary folder");
    image::RgbImage::from_pixel(32, 32, image::Rgb([90, 120, 60]))
        .save(folder.path().join("one-patch.png"))
        .expect("image can be written");
    let report = folder.path().join("report.json");
    let table = common::succeeds([
        "evaluate".as_ref(),
        "--images".as_ref(),
        folder.path().as_os_str(),
        "--json".as_ref(),
        report.as_os_str(),
    ]);
    assert!(table.contains("one-patch.png"), "{table}");
    let json = std::fs::read(report).expect("report was written");
    let json: Value = serde_json::from_slice(&json).expect("report is JSON");
    for figures in [&json["images"][0], &json["mean"]] {
        assert!(figures["ms_ssim"].is_null(), "{figures}");
        assert!(figures["seam_ratio"].is_null(), "{figures}");
        assert!(figures["ssim"].is_f64(), "{figures}");
    }
}

#[test]
fn top1_is_the_share_of_labels_found() {
    let program = Program::from_bytes(patchwire_models::CLASSIFY).expect("shipped program");
    let (id, bits) = (program.id().to_string(), program.memory().total());
    let emulator = Emulator::new(Arc::new(program));
    // Five records with the emulator's own answer, and five with another, over and over.
    let mut block = Vec::new();
    for i in 0..10u8 {
        let planes: Vec<u8> = (0..3072u32)
            .map(|p| (p * (u32::from(i) + 3) / 7) as u8)
            .collect();
        let rgb: Vec<u8> = (0..1024)
            .flat_map(|p| [planes[p], planes[1024 + p], planes[2048 + p]])
            .collect();
        let logits = emulator.classify_frame(&rgb, 32, 32).expect("a frame");
        let best = (0..10)
            .rev()
            .max_by_key(|&class| logits[class])
            .expect("ten classes");
        block.push(if i < 5 {
            best as u8
        } else {
            (best as u8 + 1) % 10
        });
        block.extend_from_slice(&planes);
    }
    let folder = tempfile::tempdir().expect("temporary folder");
    let batch = folder.path().join("test_batch.bin");
    std::fs::write(&batch, block.repeat(1000)).expect("file can be written");
    let arguments = |folder: &Path| {
        ["evaluate", "--json", "-", "--cifar10"]
            .map(std::ffi::OsString::from)
            .into_iter()
            .chain([folder.into()])
    };

    let json = common::succeeds(arguments(folder.path()));
    let json: Value = serde_json::from_str(&json).expect("only JSON on stdout");
    assert_eq!(keys(&json), ["cifar10", "program"]);
    assert_eq!(
        json["cifar10"],
        serde_json::json!({"top1": 0.5, "count": 10_000})
    );
    assert_eq!(json["program"], serde_json::json!({"id": id, "bits": bits}));

    std::fs::write(&batch, &block).expect("file can be written");
    let error = common::fails(arguments(folder.path()));
    assert!(error.contains("30730 bytes"), "{error}");
}

#[test]
fn a_folder_without_images_is_told() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let error = common::fails([
        "evaluate".as_ref(),
        "--images".as_ref(),
        folder.path().as_os_str(),
    ]);
    assert!(error.contains("holds no image"), "{error}");
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}
