//! The command line is a contract: its help is a golden file. `UPDATE_GOLDEN=1` rewrites it.

mod common;

use std::path::Path;

#[test]
fn help_is_as_agreed() {
    let mut help = String::new();
    for command in [
        "",
        "demo",
        "send",
        "encode",
        "decode",
        "verify",
        "evaluate",
        "inspect",
        "export",
        "bench",
        "load",
        "certs",
        "provision",
    ] {
        let arguments: Vec<&str> = [command, "--help"]
            .into_iter()
            .filter(|argument| !argument.is_empty())
            .collect();
        help += &format!("$ patchwire {}\n", arguments.join(" "));
        help += &common::succeeds(arguments);
        help += "\n";
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/help.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &help).expect("golden file can be written");
    }
    let expected = std::fs::read_to_string(&golden).expect("golden file is there");
    assert_eq!(help, expected, "help changed; UPDATE_GOLDEN=1 accepts it");
}

#[test]
fn bad_usage_exits_with_2() {
    for arguments in [
        &["evaluate"][..],
        &["evaluate", "--images", "x", "--classifier", "y"],
        &["send"],
        &["send", "x", "--rate", "0"],
        &["send", "x", "--task", "paint"],
        &["encode", "x"],
        &["verify", "x"],
        &["verify", "--cloud", "x"],
        &["verify", "x", "y", "--cloud", "z", "w"],
        &["load", "--size", "640"],
        &["load", "--rate", "-1"],
        &["load", "--cert", "x"],
        &["nonsense"],
        &[],
    ] {
        let output = common::patchwire(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}
