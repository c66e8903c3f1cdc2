//! `evaluate --video` with the shipped models. The tests need ffmpeg.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::keys;
use serde_json::Value;

/// A size for which MS-SSIM is defined, and no multiple of a patch.
const SIZE: &str = "200x180";

struct Folder(tempfile::TempDir);

impl Folder {
    /// A folder with video.avi: 20 frames at 10 a second.
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().expect("temporary folder"));
        let source = format!("testsrc2=size={SIZE}:rate=10:duration=2");
        let video = folder.path("video.avi");
        ffmpeg(&["-f", "lavfi", "-i", &source, "-c:v", "ffv1", &video]);
        folder
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn arguments<'a>(video: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        [&["evaluate", "--fast", "--video", video], more].concat()
    }

    fn evaluate(&self, more: &[&str]) -> Value {
        let video = self.path("video.avi");
        let arguments = Self::arguments(&video, &[&["--json", "-"], more].concat());
        serde_json::from_str(&common::succeeds(arguments)).expect("only JSON on stdout")
    }
}

fn ffmpeg(arguments: &[&str]) {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-nostdin", "-loglevel", "error"])
        .args(arguments);
    assert!(
        command.status().expect("ffmpeg starts").success(),
        "{arguments:?}"
    );
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

#[test]
fn figures_of_a_video_are_those_of_its_frames() {
    if !common::has_ffmpeg() {
        return;
    }
    let folder = Folder::new();
    let json = folder.evaluate(&["--fps", "4", "--frames", "3..12"]);

    // Ticks of a quarter second are at frames 3, 5.5, 8 and 10.5.
    let images = json["images"].as_array().expect("a list");
    let names: Vec<&str> = images.iter().filter_map(|i| i["name"].as_str()).collect();
    assert_eq!(names, ["3", "5", "8", "10"]);
    assert_eq!(json["video"]["frames"], 4);
    assert_eq!(json["video"]["fps"], 4.0);

    // ffmpeg gives the same frames by the filter in the report.
    let filter = json["video"]["filter"].as_str().expect("a filter");
    let filter = format!("{filter},settb=1/25,setpts=N");
    let (video, frames) = (folder.path("video.avi"), folder.path("frame-%d.png"));
    ffmpeg(&[
        "-i",
        &video,
        "-vf",
        &filter,
        "-r",
        "25",
        "-start_number",
        "0",
        &frames,
    ]);
    for (i, figures) in images.iter().enumerate() {
        let (frame, rebuilt) = (
            folder.path(&format!("frame-{i}.png")),
            folder.path("rebuilt.png"),
        );
        common::succeeds(["encode", &frame, "-o", &folder.path("frame.pwl")]);
        common::succeeds([
            "decode",
            &folder.path("frame.pwl"),
            "-o",
            &rebuilt,
            "--fast",
        ]);
        let (original, width, height) = common::pixels(Path::new(&frame));
        let (rebuilt, ..) = common::pixels(Path::new(&rebuilt));
        let psnr = quality::psnr(&original, &rebuilt, width, height).expect("same size");
        assert!(
            (number(&figures["psnr_db"]) - psnr).abs() < 1e-9,
            "{figures}"
        );
    }
    assert!(!Path::new(&folder.path("frame-4.png")).exists());

    // The first frame is coded alone.
    let (first, coded) = (folder.path("frame-0.png"), folder.path("coded.pwl"));
    common::succeeds(["encode", &first, "--coded", "-o", &coded]);
    let bits = 8.0 * std::fs::metadata(&coded).expect("it was written").len() as f64;
    assert!((number(&images[0]["wire_bpp"]) - bits / (200.0 * 180.0)).abs() < 1e-12);
}

#[test]
fn a_still_camera_costs_less_than_pictures_alone() {
    if !common::has_ffmpeg() {
        return;
    }
    let folder = Folder::new();
    let sample = common::samples().join("canyon.jpg").display().to_string();
    let video = folder.path("still.avi");
    ffmpeg(&[
        "-loop",
        "1",
        "-framerate",
        "10",
        "-t",
        "1",
        "-i",
        &sample,
        "-c:v",
        "ffv1",
        &video,
    ]);
    let (report, plot) = (folder.path("report.json"), folder.path("plot.svg"));
    let more = ["--fps", "10", "--json", &report, "--plot", &plot];
    let table = common::succeeds(Folder::arguments(&video, &more));
    assert!(table.contains("kbit/s"), "{table}");
    assert!(table.contains("10 frames, 10 a second"), "{table}");
    let json: Value =
        serde_json::from_slice(&std::fs::read(&report).expect("it was written")).expect("JSON");
    let rates = json["rates"].as_array().expect("a list");
    assert_eq!(rates.len(), 4);
    for rate in rates {
        let kbit_s = ["kbit_s", "intra_kbit_s", "plain_kbit_s"].map(|name| number(&rate[name]));
        // Ten frames, the first of them alone; messages have some 100 bytes beside their latents.
        assert!(kbit_s[0] < kbit_s[1] / 2.0, "{rate}");
        assert!(kbit_s[1] < kbit_s[2], "{rate}");
        let latents = number(&rate["bpp"]) * 512.0 * 768.0 * 10.0 / 1000.0;
        let messages = 8.0 * 10.0 * 170.0 / 1000.0;
        assert!((latents..latents + messages).contains(&kbit_s[2]), "{rate}");
        let (wire, alone) = ("wire_bits_per_latent_bit", "intra_wire_bits_per_latent_bit");
        assert!(number(&rate[wire]) < number(&rate[alone]) / 2.0, "{rate}");
    }
    let svg = std::fs::read_to_string(&plot).expect("plot was written");
    for text in ["kbit/s", "PSNR", "MS-SSIM", "patchwire, plain"] {
        assert!(svg.contains(text), "no {text} in the plot");
    }
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
}

#[test]
fn streams_of_other_codecs_are_measured() {
    if !common::has_ffmpeg() {
        return;
    }
    let folder = Folder::new();
    let peers = folder.path("peers");
    std::fs::create_dir(&peers).expect("folder can be made");
    let (video, stream) = (
        folder.path("video.avi"),
        folder.path("peers/mjpeg-256.mjpeg"),
    );
    let filter = "select=lt(n\\,4),settb=1/25,setpts=N";
    ffmpeg(&[
        "-i", &video, "-vf", filter, "-r", "25", "-c:v", "mjpeg", "-q:v", "5", &stream,
    ]);
    let list = |codec: &str| {
        let entry = serde_json::json!({
            "codec": codec, "bits": 256, "options": "-c:v mjpeg -q:v 5", "ending": "mjpeg"
        });
        let list = serde_json::json!({ "peers": [entry] });
        std::fs::write(folder.path("peers/peers.json"), list.to_string()).expect("it is written");
    };
    list("mjpeg");
    let json = folder.evaluate(&["--fps", "10", "--frames", "0..3", "--peers", &peers]);
    let peer = &json["peers"][0];
    assert_eq!(
        keys(peer),
        [
            "bits",
            "bpp",
            "codec",
            "kbit_s",
            "ms_ssim",
            "options",
            "psnr_db",
            "seam_ratio",
            "ssim",
            "unit"
        ]
    );
    let bits = 8.0 * std::fs::metadata(&stream).expect("a stream").len() as f64;
    assert!(
        (number(&peer["kbit_s"]) - bits / 0.4 / 1000.0).abs() < 1e-9,
        "{peer}"
    );
    assert!(
        (number(&peer["bpp"]) - bits / (4.0 * 200.0 * 180.0)).abs() < 1e-9,
        "{peer}"
    );
    assert!(number(&peer["psnr_db"]) > 30.0, "{peer}");

    // A stream of four frames, in place of five.
    let arguments = ["--fps", "10", "--frames", "0..4", "--peers", &peers];
    let error = common::fails(Folder::arguments(&video, &arguments));
    assert!(
        error.contains("mjpeg-256.mjpeg has other frames"),
        "{error}"
    );
    list("../up");
    let error = common::fails(Folder::arguments(&video, &arguments));
    assert!(error.contains("names a codec"), "{error}");
}

#[test]
fn frames_that_cannot_be_taken_are_told() {
    if !common::has_ffmpeg() {
        return;
    }
    let folder = Folder::new();
    let text = folder.path("text.avi");
    std::fs::write(&text, "no video at all").expect("file can be written");
    let video = folder.path("video.avi");
    let cases: [(&str, &[&str], &str); 5] = [
        (&video, &["--fps", "11"], "has 10 frames a second"),
        (
            &video,
            &["--fps", "10", "--frames", "10..20"],
            "has only 10 of the 11 frames",
        ),
        (
            &video,
            &["--fps", "10", "--frames", "20..20"],
            "has only 0 of the 1 frames",
        ),
        (&text, &["--fps", "1"], "text.avi: ffprobe says"),
        (&folder.path("none.avi"), &["--fps", "1"], "cannot read"),
    ];
    for (path, arguments, expected) in cases {
        let error = common::fails(Folder::arguments(path, arguments));
        assert!(error.contains(expected), "{error}");
    }
    for (arguments, expected) in [
        (
            vec!["--frames", "3..1", "--fps", "1"],
            "a part is like 400..794",
        ),
        (vec![], "--fps"),
        (vec!["--fps", "1", "--images", "x"], "cannot be used with"),
    ] {
        let output = common::patchwire(Folder::arguments(&video, &arguments));
        assert_eq!(output.status.code(), Some(2));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_missing_ffmpeg_is_told() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let video: PathBuf = folder.path().join("video.avi");
    std::fs::write(&video, "").expect("file can be written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_patchwire"));
    command
        .args(["evaluate", "--fps", "1", "--video"])
        .arg(&video);
    let output = command
        .env("PATH", folder.path())
        .output()
        .expect("it runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("ffprobe, which comes with ffmpeg, does not start"),
        "{error}"
    );
}
