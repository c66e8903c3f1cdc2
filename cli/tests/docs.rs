//! The commands of the README and of the tutorial are run as they stand, in a row, by a shell in a fresh folder.
//!
//! Only addresses differ, so that tests need no fixed ports, and a service that is started is waited for, as a person would
//! without noticing. What is not run here is listed with where it is run instead.

mod common;
mod services;

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    os::unix::{fs::symlink, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;

/// Commands that are run elsewhere.
const ELSEWHERE: [(&str, &str); 7] = [
    (
        "cargo build --release",
        "by the test itself, in its own profile",
    ),
    (
        "cargo build --release -p edge-node -p cloud-decoder",
        "the same",
    ),
    ("cargo run --release -- demo", ".ci/run, with --once"),
    ("cargo test --workspace", ".ci/run"),
    (
        "cargo run --release -- evaluate --images DIR --json -",
        "cli/tests/evaluate.rs",
    ),
    (
        "cargo run --release -- evaluate --cifar10 DIR --json -",
        "cli/tests/evaluate.rs",
    ),
    ("cargo run --release -- COMMAND", "a form, not a command"),
];
const WITHIN: Duration = Duration::from_secs(300);

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .expect("the repository")
}

/// The commands of a page, in a row, as one script: blocks that are indented, or fenced as `sh` or `python`.
fn script(page: &str) -> String {
    let mut script = String::new();
    let mut fence = None;
    for line in page.lines() {
        match (fence, line) {
            (None, "```sh" | "```python") => {
                fence = Some(line);
                if line == "```python" {
                    script += "python3 - <<'PYTHON'\n";
                }
            }
            (Some(opened), "```") => {
                if opened == "```python" {
                    script += "PYTHON\n";
                }
                fence = None;
            }
            (Some(_), line) => script += &format!("{line}\n"),
            (None, line) => {
                if let Some(command) = line.strip_prefix("    ") {
                    script += &format!("{command}\n");
                }
            }
        }
    }
    assert_eq!(fence, None, "a block is not closed");
    script
}

/// A shell that runs a script; it and what it started are killed when this is dropped.
struct Shell(Child);

impl Drop for Shell {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let killed = Command::new("kill").args(["-KILL", "--", &group]).status();
        assert!(
            killed.is_ok_and(|status| status.success()),
            "the shell was there"
        );
        self.0.wait().ok();
    }
}

/// Runs the commands of a page to their end, and gives what they wrote and where the cloud listens.
async fn run(page: &str) -> (String, String, Shell, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let binaries = services::binary("edge-node").await;
    let target = folder.path().join("target");
    std::fs::create_dir(&target).expect("a folder");
    symlink(binaries.parent().expect("a folder"), target.join("release")).expect("a link");
    for shared in ["cli", "models"] {
        symlink(repository().join(shared), folder.path().join(shared)).expect("a link");
    }
    // Ports that are free now.
    let held: Vec<_> = (0..3)
        .map(|_| TcpListener::bind("127.0.0.1:0").expect("a port"))
        .collect();
    let addresses = held
        .iter()
        .map(|port| port.local_addr().expect("an address").to_string());
    let [edge, cloud, grpc] = addresses.collect::<Vec<_>>().try_into().expect("three");
    drop(held);

    let page = std::fs::read_to_string(repository().join(page)).expect("the page");
    let mut script = script(&page)
        .replace("127.0.0.1:8080", &edge)
        .replace("127.0.0.1:8090", &cloud);
    for (command, _) in ELSEWHERE {
        script = script.replace(&format!("{command}\n"), "\n");
    }
    assert!(
        !script.contains("cargo "),
        "a command is neither run nor listed as run elsewhere:\n{script}"
    );
    let mut waiting = String::from("set -euo pipefail\n");
    for line in script.lines() {
        waiting += &format!("{line}\n");
        let started = line
            .split('#')
            .next()
            .unwrap_or_default()
            .trim_end()
            .strip_suffix(" &");
        if let Some(service) = started.and_then(|command| command.split(' ').next()) {
            waiting +=
                &format!("until {service} healthcheck > /dev/null 2>&1; do sleep 0.1; done\n");
        }
    }
    waiting += "printf '\\nall commands ran\\n'\nsleep infinity\n";
    let file = folder.path().join("script");
    std::fs::write(&file, &waiting).expect("a script");
    let errors = File::create(folder.path().join("errors")).expect("a file");
    let mut child = Command::new("bash")
        .arg(&file)
        .current_dir(folder.path())
        .env("EDGE_NODE_HTTP__LISTEN", &edge)
        .env("EDGE_NODE_UPLINK__ENDPOINT", format!("http://{grpc}"))
        .env("CLOUD_DECODER_HTTP__LISTEN", &cloud)
        .env("CLOUD_DECODER_GRPC__LISTEN", &grpc)
        .env("PATCHWIRE_EDGE", format!("http://{edge}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        .process_group(0)
        .spawn()
        .expect("bash starts");
    let output = child.stdout.take().expect("piped");
    let shell = Shell(child);
    let reading = tokio::task::spawn_blocking(move || {
        let mut shown = String::new();
        for line in BufReader::new(output).lines() {
            let line = line.expect("text");
            if line == "all commands ran" {
                return (shown, true);
            }
            shown += &format!("{line}\n");
        }
        (shown, false)
    });
    let ended = tokio::time::timeout(WITHIN, reading).await;
    let errors = || std::fs::read_to_string(folder.path().join("errors")).unwrap_or_default();
    let (shown, whole) = match ended {
        Ok(read) => read.expect("read"),
        Err(_) => {
            drop(shell);
            panic!("not within {WITHIN:?}:\n{waiting}\n{}", errors());
        }
    };
    assert!(whole, "a command failed:\n{waiting}\n{shown}\n{}", errors());
    (shown, cloud, shell, folder)
}

/// Whether what the pages need is installed.
fn installed() -> bool {
    let found = Command::new("curl").arg("--version").output().is_ok();
    assert!(
        found || std::env::var_os("CI").is_none(),
        "curl is not installed; .ci/tools does it"
    );
    if !found {
        eprintln!("NOT TESTED: curl is not installed; .ci/tools does it");
    }
    found
}

/// Waits until the cloud has rebuilt so many frames of each of these cameras.
async fn rebuilt(cloud: &str, cameras: &[(&str, u64)]) {
    testing::eventually("all frames are rebuilt", WITHIN, async || {
        let answer = testing::client()
            .get(format!("http://{cloud}/api/v1/cameras"))
            .send()
            .await
            .ok()?;
        let answer: Value = answer.json().await.ok()?;
        let known = answer["cameras"].as_array()?;
        let of = |name: &str| known.iter().find(|camera| camera["camera"] == name);
        let all = cameras
            .iter()
            .all(|(name, frames)| of(name).is_some_and(|camera| camera["decoded"] == *frames));
        all.then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_readme_does_as_it_says() {
    if !installed() {
        return;
    }
    let (shown, cloud, _shell, _folder) = run("README.md").await;
    assert!(
        shown.contains(r#""camera":"gate","task":"both""#),
        "{shown}"
    );
    rebuilt(&cloud, &[("gate", 1)]).await;
}

#[tokio::test]
async fn the_tutorial_does_as_it_says() {
    if !installed() {
        return;
    }
    let (shown, cloud, _shell, folder) = run("docs/tutorial.md").await;
    assert!(shown.contains("bits per pixel"), "{shown}");
    assert!(shown.contains("delivered"), "{shown}");
    rebuilt(
        &cloud,
        &[("gate", 2), ("yard", 8), ("python", 1), ("inbox", 1)],
    )
    .await;
    for made in ["rebuilt.png", "canyon.png"] {
        let (_, width, height) = common::pixels(&folder.path().join(made));
        assert!(width > 100 && height > 100, "{made}");
    }
}
