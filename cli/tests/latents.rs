//! `encode` and `decode` with the shipped models.

mod common;

use std::path::Path;

use image::{ImageFormat, RgbImage, imageops};
use latent::{LatentFrame, codec, prior::Prior};

#[test]
fn an_image_of_any_size_comes_back_at_its_size() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (rgb, width, height) = common::pixels(&common::samples().join("canyon.jpg"));
    let photograph = RgbImage::from_raw(width, height, rgb).expect("size fits");
    for (width, height) in [(1, 1), (31, 33), (200, 176), (333, 217)] {
        let original = path("original.png");
        imageops::crop_imm(&photograph, 100, 150, width, height)
            .to_image()
            .save_with_format(&original, ImageFormat::Png)
            .expect("image can be written");

        let told = common::succeeds(["encode", &original, "-o", &path("frame.pwl")]);
        let container = std::fs::read(path("frame.pwl")).expect("container was written");
        let latents = LatentFrame::decode(container.into()).expect("container is valid");
        assert_eq!((latents.width, latents.height), (width, height));
        let patches = (width.div_ceil(32) * height.div_ceil(32)) as usize;
        assert_eq!(latents.payload.len(), patches * latents.bits as usize / 8);
        assert!(told.contains(&format!("{patches} patches")), "{told}");

        let rebuilt = |more: &[&str]| {
            let (container, picture) = (path("frame.pwl"), path("rebuilt.png"));
            common::succeeds([&["decode", &container, "-o", &picture], more].concat());
            let (rgb, rebuilt_width, rebuilt_height) = common::pixels(Path::new(&picture));
            assert_eq!((rebuilt_width, rebuilt_height), (width, height));
            rgb
        };
        let (large, fast) = (rebuilt(&[]), rebuilt(&["--fast"]));
        assert_ne!(large, fast);
    }
}

#[test]
fn whole_patches_cost_a_quarter_bit_per_pixel() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let container = folder.path().join("frame.pwl");
    common::succeeds([
        "encode".as_ref(),
        common::samples().join("dogs.jpg").as_os_str(),
        "-o".as_ref(),
        container.as_os_str(),
    ]);
    let bytes = std::fs::read(container).expect("container was written");
    assert_eq!(bytes.len(), 512 * 768 / 4 / 8 + 52);
}

#[test]
fn a_prefix_of_the_bits_is_kept_and_a_wrong_one_refused() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let sample = common::samples().join("dogs.jpg").display().to_string();
    common::succeeds(["encode", &sample, "-o", &path("whole.pwl")]);
    let told = common::succeeds(["encode", &sample, "-o", &path("cut.pwl"), "--bits", "64"]);
    assert!(told.contains("0.0625 bpp"), "{told}");
    let read = |name| {
        let bytes = std::fs::read(path(name)).expect("container was written");
        LatentFrame::decode(bytes.into()).expect("container is valid")
    };
    assert_eq!(read("whole.pwl").prefix(64), Ok(read("cut.pwl")));

    for bits in ["0", "12", "264"] {
        let error = common::fails(["encode", &sample, "-o", &path("x.pwl"), "--bits", bits]);
        assert!(error.contains(&format!("prefix of {bits} bits")), "{error}");
    }
}

#[test]
fn coded_latents_are_those_of_the_container() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let sample = common::samples().join("dogs.jpg").display().to_string();
    for (name, more) in [("plain", &[][..]), ("coded", &["--coded"])] {
        let file = path(&format!("{name}.pwl"));
        common::succeeds([&["encode", &sample, "-o", &file, "--bits", "192"], more].concat());
        let picture = path(&format!("{name}.png"));
        common::succeeds(["decode", &file, "-o", &picture, "--fast"]);
        common::succeeds(["verify", &file, &picture]);
    }
    let read = |name: &str| std::fs::read(path(name)).expect("it was written");
    assert_eq!(read("plain.png"), read("coded.png"));
    let (plain, coded) = (read("plain.pwl"), read("coded.pwl"));
    assert!(coded.len() < plain.len(), "{} bytes", coded.len());
    let prior = Prior::from_bytes(patchwire_models::PRIOR).expect("shipped prior");
    let decoded = codec::decode(&prior, &coded, None, || true).expect("coded latents");
    assert_eq!(decoded.encode(), plain);

    let shown = common::succeeds(["inspect", &path("coded.pwl")]);
    for text in [
        "512x768 pixels, 192 bits",
        &prior.id().to_string(),
        &format!("{:08x}", decoded.checksum()),
    ] {
        assert!(shown.contains(text), "{shown}");
    }
    let shown = common::succeeds(["inspect", &path("plain.pwl")]);
    assert!(shown.contains("512x768 pixels, 192 bits"), "{shown}");
}

#[test]
fn a_prior_is_found_by_the_id_in_coded_latents() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let sample = common::samples().join("dogs.jpg").display().to_string();
    let (coded, picture) = (path("coded.pwl"), path("x.png"));
    common::succeeds(["encode", &sample, "--coded", "-o", &coded]);
    let mut bytes = std::fs::read(&coded).expect("it was written");
    // The id of the prior.
    bytes[8] ^= 1;
    std::fs::write(&coded, &bytes).expect("file can be written");
    let error = common::fails(["decode", &coded, "-o", &picture]);
    assert!(
        error.contains("coded.pwl") && error.contains("the prior"),
        "{error}"
    );
    // The flag of a reference.
    bytes[8] ^= 1;
    bytes[1] = 1;
    std::fs::write(&coded, &bytes).expect("file can be written");
    let error = common::fails(["decode", &coded, "-o", &picture]);
    assert!(
        error.contains("coded.pwl") && error.contains("refer"),
        "{error}"
    );
    std::fs::write(&coded, &bytes[..10]).expect("file can be written");
    let error = common::fails(["inspect", &coded]);
    assert!(error.contains("shorter than"), "{error}");
}

#[test]
fn what_cannot_be_read_is_told_in_one_sentence() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let sample = common::samples().join("lake.jpg").display().to_string();

    let error = common::fails(["encode", &path("none.png"), "-o", &path("x.pwl")]);
    assert!(error.contains("none.png"), "{error}");

    std::fs::write(path("text.png"), "no image at all").expect("file can be written");
    let error = common::fails(["encode", &path("text.png"), "-o", &path("x.pwl")]);
    assert!(error.contains("text.png"), "{error}");

    common::succeeds(["encode", &sample, "-o", &path("frame.pwl")]);
    let mut container = std::fs::read(path("frame.pwl")).expect("container was written");
    container[100] ^= 1;
    std::fs::write(path("damaged.pwl"), &container).expect("file can be written");
    let error = common::fails(["decode", &path("damaged.pwl"), "-o", &path("x.png")]);
    assert!(error.contains("damaged.pwl"), "{error}");
    assert!(!Path::new(&path("x.png")).exists());

    std::fs::write(path("short.nqe"), b"NQE1").expect("file can be written");
    let short = path("short.nqe");
    let error = common::fails(["encode", &sample, "-o", &path("x.pwl"), "--program", &short]);
    assert!(error.contains("short.nqe"), "{error}");
}

#[test]
fn a_program_of_the_other_task_is_refused() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let classifier = folder.path().join("classify.nqe");
    std::fs::write(&classifier, patchwire_models::CLASSIFY).expect("file can be written");
    let sample = common::samples().join("lake.jpg");
    let error = common::fails([
        "encode".as_ref(),
        sample.as_os_str(),
        "-o".as_ref(),
        folder.path().join("x.pwl").as_os_str(),
        "--program".as_ref(),
        classifier.as_os_str(),
    ]);
    assert!(error.contains("classification"), "{error}");
    assert!(error.contains("compression"), "{error}");
}
