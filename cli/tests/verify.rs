//! `verify`: a picture against its latents, from files and from a running cloud.

mod common;
mod services;

use std::fs;
use std::path::Path;
use std::process::Stdio;

use image::RgbImage;
use services::{Service, text};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// A small picture's latents, and what a shipped decoder makes of them.
struct Made(TempDir);

impl Made {
    fn new(decoder: &[&str]) -> Self {
        let made = Self(tempfile::tempdir().expect("temporary folder"));
        let (rgb, width, height) = common::pixels(&common::samples().join("canyon.jpg"));
        let photograph = RgbImage::from_raw(width, height, rgb).expect("size fits");
        image::imageops::crop_imm(&photograph, 100, 150, 70, 50)
            .to_image()
            .save(made.path("original.png"))
            .expect("image can be written");
        let (latents, picture) = (made.path("frame.pwl"), made.path("rebuilt.png"));
        common::succeeds(["encode", &made.path("original.png"), "-o", &latents]);
        common::succeeds([&["decode", &latents, "-o", &picture], decoder].concat());
        made
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// `verify` of two of its files: the exit status, and the sentence on standard output or standard error.
    fn verify(&self, latents: &str, picture: &str, more: &[&str]) -> (i32, String) {
        let (latents, picture) = (self.path(latents), self.path(picture));
        told(&[&["verify", &latents, &picture], more].concat())
    }

    /// A decoder that no binary ships: the small one with one bit of its first weight changed.
    fn own_decoder(&self) -> String {
        let mut bytes = patchwire_models::FAST_DECODER.to_vec();
        let header = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes"));
        bytes[8 + header as usize] ^= 1;
        fs::write(self.path("own.safetensors"), bytes).expect("decoder can be written");
        self.path("own.safetensors")
    }
}

fn told(arguments: &[&str]) -> (i32, String) {
    let output = common::patchwire(arguments);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).expect("output is UTF-8");
    assert_eq!(said.lines().count(), 1, "not one sentence: {said}");
    (output.status.code().expect("an exit status"), said)
}

fn id(decoder: &[u8]) -> String {
    let digest = Sha256::digest(decoder);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Changes two values of a picture, in two pixels, and keeps its decoder's name.
fn touch(from: &str, to: &str) {
    let file = fs::read(from).expect("a picture");
    let decoder = media::reconstruction::decoder(&file).expect("it names its decoder");
    let (mut rgb, width, height) = common::pixels(Path::new(from));
    rgb[7] ^= 1;
    rgb[3000] ^= 128;
    let file = media::reconstruction::encode(&rgb, width, height, &decoder);
    fs::write(to, file.expect("a PNG")).expect("picture can be written");
}

#[test]
fn a_picture_is_the_same_or_its_differences_are_counted() {
    for (decoder, bytes) in [
        (&[][..], patchwire_models::DECODER),
        (&["--fast"], patchwire_models::FAST_DECODER),
    ] {
        let made = Made::new(decoder);
        let (status, said) = made.verify("frame.pwl", "rebuilt.png", &[]);
        assert_eq!(status, 0, "{said}");
        assert!(said.contains("the same in all 3,500 pixels"), "{said}");
        assert!(said.contains(&id(bytes)), "{said}");

        touch(&made.path("rebuilt.png"), &made.path("touched.png"));
        let (status, said) = made.verify("frame.pwl", "touched.png", &[]);
        assert_eq!(status, 1, "{said}");
        let differs = "differs in 2 of 3,500 pixels, by 128 of 255 at most";
        assert!(said.contains(differs), "{said}");
    }
}

#[test]
fn a_picture_of_another_size_differs() {
    let made = Made::new(&["--fast"]);
    let whole = made.path("whole.pwl");
    let sample = common::samples().join("dogs.jpg").display().to_string();
    common::succeeds(["encode", &sample, "-o", &whole]);
    let (status, said) = made.verify("whole.pwl", "rebuilt.png", &[]);
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("70x50 pixels"), "{said}");
}

#[test]
fn a_picture_without_a_decoder_at_hand_cannot_be_told() {
    let made = Made::new(&["--fast"]);
    // As every picture was before decoders were named.
    let (rgb, width, height) = common::pixels(Path::new(&made.path("rebuilt.png")));
    let unnamed = RgbImage::from_raw(width, height, rgb).expect("size fits");
    unnamed
        .save(made.path("unnamed.png"))
        .expect("image can be written");
    let (status, said) = made.verify("frame.pwl", "unnamed.png", &[]);
    assert_eq!(status, 2, "{said}");
    assert!(
        said.contains("names no decoder: it is of an earlier one"),
        "{said}"
    );

    let own = made.own_decoder();
    let (latents, picture) = (made.path("frame.pwl"), made.path("own.png"));
    common::succeeds(["decode", &latents, "-o", &picture, "--decoder", &own]);
    let (status, said) = made.verify("frame.pwl", "own.png", &[]);
    assert_eq!(status, 2, "{said}");
    let missing = format!(
        "is of decoder {}, which is not at hand",
        id(&fs::read(&own).expect("a decoder"))
    );
    assert!(said.contains(&missing), "{said}");
    let (status, said) = made.verify("frame.pwl", "own.png", &["--decoder", &own]);
    assert_eq!(status, 0, "{said}");

    for (latents, picture) in [
        ("none.pwl", "own.png"),
        ("frame.pwl", "none.png"),
        ("own.png", "own.png"),
    ] {
        let (status, said) = made.verify(latents, picture, &[]);
        assert_eq!(status, 2, "{said}");
    }
}

#[tokio::test]
async fn a_frame_of_a_running_cloud_is_checked_over_http_and_in_its_folder() {
    let made = Made::new(&["--fast"]);
    let data = made.0.path().join("cloud");
    let fast = [("CLOUD_DECODER_DECODE__FAST", "true")];
    let cloud = Service::cloud_with(&data, "127.0.0.1:0", &fast, Stdio::inherit()).await;
    let spool = made.0.path().join("spool.sqlite");
    let edge = Service::edge(&spool, &cloud.grpc).await;
    let edge_url = format!("http://{}", edge.http);
    let picture = made.path("original.png");
    let send = move || common::succeeds(["send", &picture, "--edge", &edge_url, "--wait"]);
    tokio::task::spawn_blocking(send).await.expect("sent");
    let frames = testing::eventually(
        "a decoded frame",
        std::time::Duration::from_secs(60),
        async || {
            let page = cloud.get("/api/v1/frames?state=decoded").await;
            page["frames"][0]["id"].as_str().map(str::to_owned)
        },
    );
    let frame = frames.await;

    let url = format!("http://{}", cloud.http);
    let asked = frame.clone();
    let (status, said) =
        tokio::task::spawn_blocking(move || told(&["verify", "--cloud", &url, &asked]))
            .await
            .expect("it ends");
    assert_eq!(status, 0, "{said}");
    assert!(
        said.contains(&frame) && said.contains("the same in all 3,500 pixels"),
        "{said}"
    );

    let object = |kind: &str, end: &str| {
        let found = walk(&data.join("objects").join(kind)).into_iter();
        let mut found = found.filter(|path| path.ends_with(&format!("{frame}.{end}")));
        found
            .next()
            .unwrap_or_else(|| panic!("no {kind} of {frame}"))
    };
    let (latents, picture) = (object("latents", "pwl"), object("reconstructions", "png"));
    let (status, said) = told(&["verify", &latents, &picture]);
    assert_eq!(status, 0, "{said}");
}

#[test]
fn a_cloud_that_cannot_be_asked_is_named() {
    let frame = "0199aaaa-0000-7000-8000-000000000000";
    for (url, frame, part) in [
        ("http://127.0.0.1:9", frame, "the cloud did not answer"),
        ("127.0.0.1:9", frame, "127.0.0.1:9 is not"),
        ("http://127.0.0.1:9", "42", "42 is not the id of a frame"),
    ] {
        let (status, said) = told(&["verify", "--cloud", url, frame]);
        assert_eq!(status, 2, "{said}");
        assert!(said.contains(part), "{said}");
    }
}

/// All files below a folder.
fn walk(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", text(folder)));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => walk(&path),
            false => vec![text(&path).to_owned()],
        })
        .collect()
}
