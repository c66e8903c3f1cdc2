//! `demo --once`: the whole system in one process, on the shipped models.

mod common;

use image::RgbImage;

#[test]
fn one_pass_reconstructs_and_measures_every_sample() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let data = folder.path().join("data");
    let output = common::patchwire([
        "demo".as_ref(),
        "--once".as_ref(),
        "--data".as_ref(),
        data.as_os_str(),
    ]);
    let shown = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shown}{errors}");
    assert!(shown.contains("dashboard  http://127.0.0.1:"), "{shown}");
    for photograph in common::photographs() {
        let name = photograph.file_name().expect("a name").to_string_lossy();
        let row = shown.lines().find(|line| line.starts_with(&*name));
        let row = row.unwrap_or_else(|| panic!("no row for {name}: {shown}"));
        assert!(row.contains("0.2500"), "{row}");
        assert!(!row.ends_with('-'), "not measured: {row}");
    }
    assert!(
        shown.contains("8 of 8 frames reconstructed and measured"),
        "{shown}"
    );
    assert_eq!(
        errors, "",
        "a pass without trouble writes nothing to standard error"
    );
    assert!(data.is_dir(), "--data keeps the data");
}

#[test]
fn a_frame_that_is_none_fails_the_pass_and_is_named() {
    let folder = tempfile::tempdir().expect("temporary folder");
    std::fs::write(folder.path().join("broken.jpg"), "no image").expect("file can be written");
    RgbImage::from_fn(200, 190, |x, y| image::Rgb([x as u8, y as u8, 128]))
        .save(folder.path().join("whole.png"))
        .expect("image can be written");
    let output = common::patchwire([
        "demo".as_ref(),
        "--once".as_ref(),
        "--frames".as_ref(),
        folder.path().as_os_str(),
    ]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("1 of 2 frames"), "{errors}");
    assert!(errors.contains("broken.jpg"), "{errors}");
    assert!(!errors.contains("whole.png"), "{errors}");
}
