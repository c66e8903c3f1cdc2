//! `inspect` on the shipped models.

mod common;

use nqe::Program;

#[test]
fn the_shipped_models_are_shown() {
    let shown = common::succeeds(["inspect"]);
    for bytes in [patchwire_models::CLASSIFY, patchwire_models::COMPRESS] {
        let program = Program::from_bytes(bytes).expect("shipped program");
        assert!(shown.contains(&program.id().to_string()), "{shown}");
    }
    assert!(shown.contains("1,048,576 bits"), "{shown}");
    assert!(
        shown.contains("256 bits a 32x32 patch, 0.25 bpp"),
        "{shown}"
    );
    assert!(shown.contains("airplane, automobile, bird"), "{shown}");
    assert!(shown.contains("multiply-accumulates a pixel"), "{shown}");
}

#[test]
fn a_file_is_shown_layer_by_layer() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("mine.nqe");
    std::fs::write(&path, patchwire_models::COMPRESS).expect("file can be written");
    let shown = common::succeeds(["inspect".as_ref(), path.as_os_str()]);
    let program = Program::from_bytes(patchwire_models::COMPRESS).expect("shipped program");
    let rows = shown.lines().filter(|line| line.contains("conv ")).count();
    let pools = shown
        .lines()
        .filter(|line| line.contains("max pool"))
        .count();
    assert_eq!(rows + pools, program.layers().len(), "{shown}");

    std::fs::write(&path, b"NQE1 and then nothing of sense").expect("file can be written");
    let error = common::fails(["inspect".as_ref(), path.as_os_str()]);
    assert!(error.contains("mine.nqe"), "{error}");
    std::fs::write(&path, b"something else").expect("file can be written");
    common::fails(["inspect".as_ref(), path.as_os_str()]);
}
