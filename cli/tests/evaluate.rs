//! `evaluate` with the shipped models.

mod common;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::keys;
use latent::prior::Prior;
use nqe::{Emulator, Program};
use purenet::Decoder;
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

    assert_eq!(
        keys(&json),
        [
            "codec",
            "images",
            "mean",
            "original_seam_ratio",
            "program",
            "rates"
        ]
    );
    let images = json["images"].as_array().expect("a list");
    assert_eq!(images.len(), 2);
    let figures = [
        "bpp",
        "ms_ssim",
        "psnr_db",
        "seam_ratio",
        "ssim",
        "wire_bits_per_latent_bit",
        "wire_bpp",
    ];
    assert_eq!(keys(&json["mean"]), figures);
    for name in figures {
        let values: Vec<f64> = images.iter().map(|i| number(&i[name])).collect();
        let mean = (values[0] + values[1]) / 2.0;
        assert!((number(&json["mean"][name]) - mean).abs() < 1e-9, "{name}");
    }
    // The shipped pair gives over 29 dB here; far less means files that do not belong together.
    let psnr = number(&json["mean"]["psnr_db"]);
    assert!(psnr > 27.5, "the shipped models give {psnr:.2} dB");
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
            "original_seam_ratio",
            "psnr_db",
            "seam_ratio",
            "ssim",
            "width",
            "wire_bits_per_latent_bit",
            "wire_bpp"
        ]
    );
    assert_eq!(fig["name"], "fig.jpg");
    assert_eq!((&fig["width"], &fig["height"]), (&768.into(), &512.into()));
    assert_eq!(number(&fig["bpp"]), 0.25);

    let coded = path("coded.pwl");
    common::succeeds(["encode", &path("images/fig.jpg"), "--coded", "-o", &coded]);
    let bits = 8.0 * std::fs::metadata(coded).expect("it was written").len() as f64;
    let (wire, latents) = (number(&fig["wire_bpp"]), 768.0 * 512.0 * 0.25);
    assert!((wire - bits / (768.0 * 512.0)).abs() < 1e-12, "{fig}");
    let ratio = number(&fig["wire_bits_per_latent_bit"]);
    assert!((ratio - bits / latents).abs() < 1e-12, "{fig}");
    let prior = Prior::from_bytes(patchwire_models::PRIOR).expect("shipped prior");
    assert_eq!(json["codec"]["prior"], prior.id().to_string());

    common::succeeds(["encode", &path("images/fig.jpg"), "-o", &path("fig.pwl")]);
    common::succeeds(["decode", &path("fig.pwl"), "-o", &path("fig.png")]);
    let (original, width, height) = common::pixels(Path::new(&path("images/fig.jpg")));
    let (rebuilt, ..) = common::pixels(Path::new(&path("fig.png")));
    let psnr = quality::psnr(&original, &rebuilt, width, height).expect("same size");
    assert!((number(&fig["psnr_db"]) - psnr).abs() < 1e-9);
}

#[test]
fn a_prior_beside_the_program_has_to_be_its_own() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::create_dir(folder.path().join("images")).expect("folder can be made");
    let sample = common::samples().join("dogs.jpg");
    std::fs::copy(sample, path("images/dogs.jpg")).expect("sample can be copied");
    std::fs::write(path("own.nqe"), patchwire_models::COMPRESS).expect("file can be written");
    let run = [
        "evaluate",
        "--fast",
        "--json",
        "-",
        "--images",
        &path("images"),
    ]
    .map(str::to_owned);
    let own = path("own.nqe");
    let run = || run.iter().map(String::as_str).chain(["--program", &own]);

    // The shipped prior is found by the program's id.
    let json: Value = serde_json::from_str(&common::succeeds(run())).expect("JSON");
    assert!(json["codec"]["prior"].is_string(), "{json}");

    // A prior of another program beside it.
    let mut other = patchwire_models::PRIOR.to_vec();
    other[4] ^= 1;
    std::fs::write(path("own.pwp"), &other).expect("file can be written");
    let error = common::fails(run());
    assert!(error.contains("own.pwp is of program"), "{error}");
    std::fs::write(path("own.pwp"), "PWP").expect("file can be written");
    let error = common::fails(run());
    assert!(error.contains("own.pwp does not load"), "{error}");
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
    assert!(json.get("original_seam_ratio").is_none(), "{json}");
    for figures in [&json["images"][0], &json["mean"]] {
        assert!(figures["ms_ssim"].is_null(), "{figures}");
        assert!(figures["seam_ratio"].is_null(), "{figures}");
        assert!(figures["ssim"].is_f64(), "{figures}");
    }
}

#[test]
fn every_rate_of_the_decoder_has_its_means() {
    let decoder = Decoder::from_safetensors(patchwire_models::DECODER).expect("shipped decoder");
    let peers = Peers::new();
    let json = peers.evaluate(&[]);

    let rates = json["rates"].as_array().expect("a list");
    let bits: Vec<u64> = rates.iter().filter_map(|r| r["bits"].as_u64()).collect();
    let expected: Vec<u64> = decoder.rates().iter().map(|&b| u64::from(b)).collect();
    assert_eq!(bits, expected);
    for rate in rates {
        assert_eq!(
            keys(rate),
            [
                "bits",
                "bpp",
                "ms_ssim",
                "psnr_db",
                "seam_ratio",
                "ssim",
                "wire_bits_per_latent_bit",
                "wire_bpp"
            ]
        );
        let (width, height) = (SIZE.0.div_ceil(32) * 32, SIZE.1.div_ceil(32) * 32);
        let padded = f64::from(width * height) / f64::from(SIZE.0 * SIZE.1);
        let bpp = number(&rate["bits"]) / 1024.0 * padded;
        assert!((number(&rate["bpp"]) - bpp).abs() < 1e-12, "{rate}");
        let wire = number(&rate["wire_bits_per_latent_bit"]) * bpp;
        assert!((number(&rate["wire_bpp"]) - wire).abs() < 1e-9, "{rate}");
    }
    let last = rates.last().expect("one rate at least");
    for name in ["bpp", "ms_ssim", "psnr_db", "seam_ratio", "ssim"] {
        assert_eq!(last[name], json["mean"][name], "{name}");
    }
    let (original, width, height) = common::pixels(&peers.path("images/a.png"));
    let seams = quality::seam_ratio(&original, width, height, 32).expect("a frame");
    assert_eq!(json["images"][0]["original_seam_ratio"].as_f64(), seams);
}

#[test]
fn peers_are_measured_and_plotted() {
    let peers = Peers::new();
    let plot = peers.path("plot.svg");
    let json = peers.evaluate(&["--plot".as_ref(), plot.as_os_str()]);

    let rows = json["peers"].as_array().expect("a list");
    assert_eq!(rows.len(), 2);
    assert_eq!(
        keys(&rows[0]),
        [
            "bits",
            "bpp",
            "codec",
            "ms_ssim",
            "psnr_db",
            "seam_ratio",
            "ssim",
            "unit"
        ]
    );
    assert_eq!(rows[1]["codec"], "tiles");
    assert_eq!(rows[1]["unit"], "patch");
    assert_eq!(rows[1]["bits"], 256);
    let bpp = 8.0 * (1000.0 + 1200.0) / 2.0 / f64::from(SIZE.0 * SIZE.1);
    assert!((number(&rows[1]["bpp"]) - bpp).abs() < 1e-12);
    let psnr = ["a", "b"].map(|stem| {
        let (original, width, height) = common::pixels(&peers.path(&format!("images/{stem}.png")));
        let (rebuilt, ..) = common::pixels(&peers.path(&format!("peers/tiles-256/{stem}.png")));
        quality::psnr(&original, &rebuilt, width, height).expect("same size")
    });
    assert!((number(&rows[1]["psnr_db"]) - (psnr[0] + psnr[1]) / 2.0).abs() < 1e-9);

    let svg = std::fs::read_to_string(&plot).expect("plot was written");
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    for text in [
        "PSNR",
        "MS-SSIM",
        "bits per pixel",
        "patchwire",
        "rival",
        "tiles",
    ] {
        assert!(svg.contains(text), "no {text} in the plot");
    }
    assert!(!svg.contains("NaN") && !svg.contains("<script"));

    let table = common::succeeds(peers.arguments());
    assert!(
        table.contains("tiles") && table.contains("original"),
        "{table}"
    );
}

#[test]
fn wrong_peers_are_told() {
    let peers = Peers::new();
    let list = peers.path("peers/peers.json");
    let good = std::fs::read_to_string(&list).expect("list is there");
    let cases = [
        (good.replace("256", "-1"), "is not a list of peers"),
        (good.replace("tiles", "../up"), "names a codec"),
        (good.replace("b.png", "c.png"), "has no bytes of b.png"),
        (good.replace("tiles", "others"), "cannot open"),
    ];
    for (content, expected) in cases {
        std::fs::write(&list, content).expect("file can be written");
        let error = common::fails(peers.arguments());
        assert!(error.contains(expected), "{error}");
    }
    std::fs::write(&list, good).expect("file can be written");
    picture(8, 8, 1, 0)
        .save(peers.path("peers/tiles-256/b.png"))
        .expect("image can be written");
    let error = common::fails(peers.arguments());
    assert!(error.contains("b.png is 8x8 pixels"), "{error}");

    std::fs::remove_file(&list).expect("file can be removed");
    let error = common::fails(peers.arguments());
    assert!(error.contains("peers.json"), "{error}");
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

/// Of the pictures in [`Peers`]: just enough for MS-SSIM, and no multiple of a patch.
const SIZE: (u32, u32) = (180, 178);

/// Waves, with errors of up to `noise` gray levels.
fn picture(width: u32, height: u32, seed: u32, noise: u32) -> image::RgbImage {
    image::RgbImage::from_fn(width, height, |x, y| {
        let wave = (f64::from(x * seed + y) / 9.0).sin() * 80.0 + 120.0;
        let error = (x * 7919 + y * 104_729) % (noise + 1);
        image::Rgb([wave as u8, (wave * 0.8) as u8, 90].map(|v| v + error as u8))
    })
}

/// A folder with two images, and another with what two codecs made of them.
struct Peers(tempfile::TempDir);

impl Peers {
    fn new() -> Self {
        let peers = Self(tempfile::tempdir().expect("temporary folder"));
        for (folder, noise) in [
            ("images", 0),
            ("peers/rival-64", 20),
            ("peers/tiles-256", 6),
        ] {
            std::fs::create_dir_all(peers.path(folder)).expect("folder can be made");
            for (seed, stem) in [(1, "a"), (3, "b")] {
                picture(SIZE.0, SIZE.1, seed, noise)
                    .save(peers.path(&format!("{folder}/{stem}.png")))
                    .expect("image can be written");
            }
        }
        let list = serde_json::json!({"peers": [
            {"codec": "rival", "unit": "frame", "bits": 64, "images": {"a.png": 250, "b.png": 280}},
            {"codec": "tiles", "unit": "patch", "bits": 256, "images": {"a.png": 1000, "b.png": 1200}},
        ]});
        std::fs::write(peers.path("peers/peers.json"), list.to_string())
            .expect("file can be written");
        peers
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn arguments(&self) -> Vec<OsString> {
        vec![
            "evaluate".into(),
            "--images".into(),
            self.path("images").into(),
            "--peers".into(),
            self.path("peers").into(),
        ]
    }

    /// The figures as JSON, `more` being further arguments.
    fn evaluate(&self, more: &[&OsStr]) -> Value {
        let mut arguments = self.arguments();
        arguments.extend(["--json".into(), "-".into()]);
        arguments.extend(more.iter().map(OsString::from));
        serde_json::from_str(&common::succeeds(arguments)).expect("only JSON on stdout")
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}
