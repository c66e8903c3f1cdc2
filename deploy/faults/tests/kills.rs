//! The harness itself, in short: it runs, finds nothing lost, and prints a whole ledger.

use std::process::Command;

#[test]
fn frames_survive_a_kill_right_after_their_202() {
    let output = Command::new(env!("CARGO_BIN_EXE_faults"))
        .args([
            "--scenario",
            "kill-after-202",
            "--kills",
            "15",
            "--seed",
            "3",
        ])
        .output()
        .expect("the harness starts");
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{errors}");
    for line in [
        "accepted: 15",
        "acked: 15",
        "stored: 15",
        "reconstructed: 15",
        "duplicated: 0",
        "lost: 0",
        "refused: 0",
        "kills after a 202: 15",
    ] {
        assert!(
            told.lines().any(|told| told == line),
            "no {line:?} in\n{told}"
        );
    }
}
