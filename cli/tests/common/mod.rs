//! Helpers for the tests: running `patchwire`, the sample photographs, figures as JSON.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Runs the binary under test to its end.
pub(crate) fn patchwire<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_patchwire"))
        .args(args)
        .output()
        .expect("patchwire starts")
}

/// Runs it and takes its standard output; it must succeed.
pub(crate) fn succeeds<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> String {
    let output = patchwire(args);
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).expect("output is UTF-8")
}

/// Runs it and takes its standard error; it must fail with exit code 1 and one line.
pub(crate) fn fails<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> String {
    let output = patchwire(args);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let error = String::from_utf8(output.stderr).expect("output is UTF-8");
    assert_eq!(error.lines().count(), 1, "not one sentence: {error}");
    error
}

fn said(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The folder of the sample photographs.
pub(crate) fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples")
}

/// The sample photographs, sorted by name.
pub(crate) fn photographs() -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(samples())
        .expect("samples are there")
        .map(|entry| entry.expect("samples can be listed").path())
        .filter(|path| path.extension().is_some_and(|e| e == "jpg"))
        .collect();
    paths.sort();
    assert_eq!(paths.len(), 8);
    paths
}

/// RGB pixels, width and height of an image file.
pub(crate) fn pixels(path: &Path) -> (Vec<u8>, u32, u32) {
    let image = image::ImageReader::open(path)
        .expect("image opens")
        .with_guessed_format()
        .expect("image is readable")
        .decode()
        .expect("image decodes")
        .into_rgb8();
    let (width, height) = image.dimensions();
    (image.into_raw(), width, height)
}

/// Names of a JSON object's members, sorted.
pub(crate) fn keys(value: &Value) -> Vec<&str> {
    let object = value.as_object().expect("a JSON object");
    let mut keys: Vec<&str> = object.keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// Whether there is an ffmpeg to test with; in CI there must be.
pub(crate) fn has_ffmpeg() -> bool {
    let found = Command::new("ffmpeg").arg("-version").output().is_ok();
    let told = "ffmpeg is not installed; .ci/tools does it";
    assert!(found || std::env::var_os("CI").is_none(), "{told}");
    if !found {
        eprintln!("NOT TESTED: {told}");
    }
    found
}
