//! The commands of the README, of the tutorial and of the page on security are run as they stand, in a row, by a shell
//! in a fresh folder.
//!
//! Only addresses differ, so that tests need no fixed ports, and a service that is started is waited for, as a person
//! would without noticing. The commands of the other pages, and the few that are not run here, are listed with where
//! they are run instead.

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

/// Pages that are run here, whole.
const RUN: [&str; 3] = ["README.md", "docs/tutorial.md", "docs/secure.md"];

/// How commands begin that are run elsewhere, and where.
const ELSEWHERE: [(&str, &str); 51] = [
    ("rm -f /backup/catalogue.new", "by hand: before a backup"),
    (
        "sqlite3 /var/lib/patchwire/catalogue.sqlite",
        "deploy/faults/src/scenarios/copies.rs",
    ),
    (
        "rsync -a /var/lib/patchwire/objects/",
        "deploy/faults/src/scenarios/copies.rs",
    ),
    ("cd ", "cli/tests/docs.rs"),
    ("cargo build --release", "cli/tests/docs.rs"),
    ("cargo run --release -- COMMAND", "cli/tests/docs.rs"),
    ("cargo run --release -- demo", ".ci/run"),
    ("cargo run --release -- evaluate", "cli/tests/evaluate.rs"),
    ("cargo run --release -- inspect", "cli/tests/inspect.rs"),
    ("cargo run --release -p faults -- --minutes", ".ci/run"),
    (
        "cargo run --release -p faults -- --scenario",
        "deploy/faults/tests/kills.rs",
    ),
    ("cargo test --workspace", ".ci/run"),
    ("cargo test -p", ".ci/run"),
    ("UPDATE_GOLDEN=1 cargo test -p patchwire", ".ci/run"),
    ("cargo build --workspace --bins", ".ci/run"),
    ("cargo run -- demo", ".ci/run"),
    ("cargo fmt --check", ".ci/run"),
    ("cargo clippy", ".ci/run"),
    (".ci/imports.py", ".ci/run"),
    ("cargo install cargo-fuzz", "by hand, before fuzzing"),
    ("cargo fuzz run", "fuzz/tests/seeds.rs"),
    ("RUSTC_BOOTSTRAP=1 cargo fuzz run", "fuzz/tests/seeds.rs"),
    (
        "cloud-decoder --http-listen",
        "cloud-decoder/tests/config.rs",
    ),
    ("EDGE_NODE_UPLINK__ENDPOINT=", "edge-node/tests/service.rs"),
    (
        "curl 'http://127.0.0.1:8090/api/v1/retention",
        "cloud-decoder/tests/retention.rs",
    ),
    ("edge-node spool", "edge-node/tests/spool_commands.rs"),
    (
        "deploy/capacity.py",
        "by hand: minutes, for figures of the machine",
    ),
    ("deploy/", "deploy/test.sh"),
    (".ci/emulated", "by hand: an hour, and a processor emulated"),
    (".ci/aarch64", ".ci/run"),
    (
        "docker compose -f deploy/compose.cloud.yml",
        "deploy/test-hosts.sh",
    ),
    (
        "docker compose -f deploy/compose.scale.yml",
        "deploy/test-scale.sh",
    ),
    ("docker compose", "deploy/test.sh"),
    (
        "docker buildx build",
        "by hand: the Rust image is in a registry",
    ),
    ("docker run --rm --user", "deploy/test-hosts.sh"),
    ("docker save", "by hand: two machines"),
    ("ssh edge-1 install", "by hand: two machines"),
    ("scp -rp deploy/secrets", "by hand: two machines"),
    ("NODE=edge-1 docker compose", "deploy/test-hosts.sh"),
    ("EDGE_IMAGE=edge-node-video", "deploy/test-hosts.sh"),
    ("curl --cacert ca.pem", "deploy/test-hosts.sh"),
    ("helm upgrade", ".ci/test_helm.py"),
    ("kubectl create secret", "by hand: no cluster in CI"),
    ("EDGE_PORT=0 EDGE_SPOOL= docker compose", "deploy/test.sh"),
    ("ORIGINALS_SHARE=1 docker compose", "deploy/test.sh"),
    ("patchwire load", "cli/tests/load.rs"),
    ("patchwire verify", "cli/tests/verify.rs"),
    ("pip install -r requirements.txt", ".ci/run"),
    ("python3 -m venv .venv", ".ci/run"),
    ("python ", "training/tests"),
    (".venv/bin/python ", "training/tests"),
];
const WITHIN: Duration = Duration::from_secs(300);

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .expect("the repository")
}

/// The commands of a page, in a row, as one script: blocks fenced as `sh` or `python`.
fn script(page: &str) -> String {
    let page = std::fs::read_to_string(repository().join(page)).expect("the page");
    let mut script = String::new();
    let mut fence = None;
    for line in page.lines() {
        match fence {
            None if line.starts_with("```") => {
                if line == "```python" {
                    script += "python3 - <<'PYTHON'\n";
                }
                fence = Some(line);
            }
            Some(opened) if line == "```" => {
                if opened == "```python" {
                    script += "PYTHON\n";
                }
                fence = None;
            }
            Some("```sh" | "```python") => script += &format!("{line}\n"),
            _ => {}
        }
    }
    assert_eq!(fence, None, "a block is not closed");
    script
}

/// Where a command is run, if not here.
fn elsewhere(command: &str) -> Option<&'static str> {
    let known = ELSEWHERE
        .iter()
        .find(|(begin, _)| command.starts_with(begin));
    known.map(|(_, place)| *place)
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

/// Runs the commands of a page to their end, and gives what they wrote and where the cloud listens. The uplink speaks
/// `scheme`.
async fn run(page: &str, scheme: &str) -> (String, String, Shell, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let binaries = services::binary("edge-node").await;
    let target = folder.path().join("target");
    std::fs::create_dir(&target).expect("a folder");
    symlink(binaries.parent().expect("a folder"), target.join("release")).expect("a link");
    let path = format!(
        "{}:{}",
        target.join("release").display(),
        std::env::var("PATH").unwrap_or_default()
    );
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

    let swaps = [
        ("127.0.0.1:8080", edge.clone()),
        ("127.0.0.1:8090", cloud.clone()),
        ("edge-1:8080", edge.replace("127.0.0.1", "localhost")),
        (
            "cloud.example:8090",
            cloud.replace("127.0.0.1", "localhost"),
        ),
        ("--cloud cloud.example", "--cloud localhost".into()),
    ];
    let mut script = script(page);
    for (written, here) in swaps {
        script = script.replace(written, &here);
    }
    let mut waiting = String::from("set -euo pipefail\n");
    for line in script.lines().filter(|line| elsewhere(line).is_none()) {
        waiting += &format!("{line}\n");
        let command = line.split('#').next().unwrap_or_default().trim_end();
        if let Some(service) = command.strip_suffix(" &") {
            let asked = service.split(" --set").next().unwrap_or_default();
            waiting += &format!("until {asked} healthcheck > /dev/null 2>&1; do sleep 0.1; done\n");
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
        .env(
            "EDGE_NODE_UPLINK__ENDPOINT",
            format!("{scheme}://{}", grpc.replace("127.0.0.1", "localhost")),
        )
        .env("PATH", path)
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

/// Whether the tools of the pages are installed.
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
    let (shown, cloud, _shell, _folder) = run("README.md", "http").await;
    assert!(
        shown.contains(r#""camera":"gate","task":"compress""#),
        "{shown}"
    );
    rebuilt(&cloud, &[("gate", 1)]).await;
}

#[tokio::test]
async fn the_tutorial_does_as_it_says() {
    if !installed() {
        return;
    }
    let (shown, cloud, _shell, folder) = run("docs/tutorial.md", "http").await;
    assert!(shown.contains("bits per pixel"), "{shown}");
    assert!(shown.contains("delivered"), "{shown}");
    rebuilt(
        &cloud,
        &[("gate", 2), ("yard", 9), ("python", 1), ("inbox", 1)],
    )
    .await;
    for made in ["rebuilt.png", "canyon.png"] {
        let (_, width, height) = common::pixels(&folder.path().join(made));
        assert!(width > 100 && height > 100, "{made}");
    }
}

#[tokio::test]
async fn the_page_on_security_does_as_it_says() {
    if !installed() {
        return;
    }
    let (shown, _cloud, _shell, folder) = run("docs/secure.md", "https").await;
    assert!(shown.contains(r#""camera":"gate""#), "{shown}");
    let left = std::fs::read_to_string(folder.path().join("secrets/cloud-tokens"));
    let left = left.expect("the tokens");
    assert!(left.contains("edge-1") && !left.contains("ops"), "{left}");
}

/// Commands that a reader copies from a page work, because a test runs them.
#[test]
fn every_command_of_the_docs_is_run_somewhere() {
    let docs = std::fs::read_dir(repository().join("docs")).expect("the docs");
    let pages = docs.map(|page| page.expect("a page").file_name().into_string());
    let pages = pages.map(|name| format!("docs/{}", name.expect("a name")));
    for page in pages.chain(["CONTRIBUTING.md".to_owned()]) {
        if !page.ends_with(".md") || RUN.contains(&page.as_str()) {
            continue;
        }
        for command in script(&page).replace("\\\n", "").lines() {
            let place = elsewhere(command)
                .unwrap_or_else(|| panic!("{page}: nothing is said to run {command:?}"));
            assert!(
                place.starts_with("by hand") || repository().join(place).exists(),
                "{place} is not there to run {command:?}"
            );
        }
    }
}
