//! Programs side by side: each camera has its own, and a switch loses no frame.

mod support;

use std::{collections::BTreeSet, fs, path::Path};

use edge_node::Config;
use latent::LatentFrame;
use serde_json::Value;
use support::{Cloud, Verdict, answer, bright, config, eventually, get, metric, plain, post_raw};

/// A configuration whose folder of programs has `green`, `blue` and these choices.
fn with_programs(dir: &Path, cloud: &Cloud, cameras: &str) -> Config {
    let mut config = config(dir, cloud.addr);
    let folder = dir.join("programs");
    fs::create_dir(&folder).expect("a folder");
    for (name, colour) in [("green", [0, 1, 0]), ("blue", [0, 0, 1])] {
        fs::write(folder.join(format!("{name}.nqe")), bright(name, colour)).expect("a program");
    }
    choose(dir, cameras);
    config.programs.folder = Some(folder);
    config
}

fn choose(dir: &Path, cameras: &str) {
    let file = dir.join("programs/cameras");
    let fresh = file.with_extension("fresh");
    fs::write(&fresh, cameras).expect("choices");
    fs::rename(fresh, file).expect("choices");
}

/// The program that made the latents of a frame.
async fn made(node: &edge_node::Running, camera: &str) -> Value {
    let query = format!("camera={camera}");
    let request = post_raw(node, &query, 32, 32, plain(32, 32, [0, 200, 0]));
    let (status, body) = answer(request.send().await.expect("an answer")).await;
    assert_eq!(status, 202, "{body}");
    body["program"].clone()
}

/// Ids of the loaded programs by name.
async fn ids(node: &edge_node::Running) -> serde_json::Map<String, Value> {
    let (_, chip) = get(node, "/v1/encoder").await;
    let programs = chip["programs"].as_array().expect("programs").clone();
    let named = |p: &Value| {
        (
            p["name"].as_str().expect("a name").to_owned(),
            p["id"].clone(),
        )
    };
    programs.iter().map(named).collect()
}

#[tokio::test]
async fn each_camera_has_its_program() {
    let dir = tempfile::tempdir().expect("dir");
    let cloud = Cloud::start(|_, _| Verdict::Accept).await;
    let lines = "# by day and night\n* compress green\n\ngate  compress blue\n";
    let node = edge_node::start(with_programs(dir.path(), &cloud, lines))
        .await
        .expect("start");
    let ids = ids(&node).await;
    let names: Vec<_> = ids.keys().map(String::as_str).collect();
    assert_eq!(names, ["blue", "dominant-colour", "green"]);
    assert_eq!(made(&node, "gate").await, ids["blue"]);
    assert_eq!(made(&node, "yard").await, ids["green"]);
    let (_, chip) = get(&node, "/v1/encoder").await;
    assert_eq!(chip["chosen"]["compress"], ids["green"]);
    assert_eq!(chip["cameras"]["gate"]["compress"], ids["blue"]);
    assert_eq!(chip["cameras"]["gate"]["classify"], ids["dominant-colour"]);
    assert_eq!(metric(&node, "edge_node_programs").await, 3.0);
    eventually("a hello", async || !cloud.hellos().is_empty()).await;
    assert_eq!(cloud.hellos()[0].programs.len(), 3);
    node.shutdown().await;
}

#[tokio::test]
async fn a_switch_needs_no_restart_and_loses_no_frame() {
    let dir = tempfile::tempdir().expect("dir");
    let cloud = Cloud::start(|_, _| Verdict::Accept).await;
    let node = edge_node::start(with_programs(dir.path(), &cloud, "gate compress green\n"))
        .await
        .expect("start");
    let green = ids(&node).await["green"].clone();
    let mut posted = 0;
    assert_eq!(made(&node, "gate").await, green);
    posted += 1;
    choose(dir.path(), "gate compress blue\n");
    let mut seen = BTreeSet::new();
    // Frames all the time, and still some after the switch.
    while seen.len() < 2 || posted % 5 > 0 {
        seen.insert(made(&node, "gate").await.to_string());
        posted += 1;
    }
    let blue = ids(&node).await["blue"].clone();
    assert_eq!(seen, BTreeSet::from([green.to_string(), blue.to_string()]));
    eventually("all are delivered", async || {
        metric(&node, "edge_node_uplink_acks_total{status=\"accepted\"}").await == f64::from(posted)
    })
    .await;
    // Each is whole, of the program that it names, and green is bright to one of them alone.
    for frame in cloud.frames() {
        let latents = LatentFrame::decode(frame.latents).expect("latents");
        let of_green = hex(&latents.program) == green.as_str().expect("an id");
        assert_eq!(latents.payload[0], if of_green { 0xff } else { 0 });
    }
    // The cloud was told, on a stream of its own.
    eventually("another hello", async || cloud.hellos().len() > 1).await;
    let told = cloud.hellos().pop().expect("a hello");
    assert!(told.programs.iter().any(|program| program.name == "blue"));
    assert_eq!(metric(&node, "edge_node_program_switches_total").await, 1.0);
    assert_eq!(metric(&node, "edge_node_uplink_failures_total").await, 0.0);

    // An unusable file changes nothing until it is usable.
    choose(dir.path(), "gate compress red\n");
    fs::copy(
        dir.path().join("compress.nqe"),
        dir.path().join("programs/red.nqe"),
    )
    .expect("a copy");
    eventually("the program is there", async || {
        ids(&node).await.contains_key("bright-red")
    })
    .await;
    node.shutdown().await;
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn choices_that_cannot_be_used_are_told_in_a_sentence() {
    for (cameras, sentence) in [
        (
            "gate compress",
            "cameras is wrong in line 1: it is not of the form CAMERA TASK PROGRAM",
        ),
        ("ga/te compress green", "cameras is wrong in line 1: camera"),
        (
            "\ngate both green",
            "line 2: its task is \"both\", allowed are compress and classify",
        ),
        ("gate compress ../green", "line 1: program"),
        (
            "gate compress green\ngate compress blue",
            "line 2: an earlier line has chosen already",
        ),
        ("gate compress red", "red.nqe cannot be read: No such file"),
        (
            "gate classify green",
            "green.nqe is for compression, not for classification",
        ),
    ] {
        let dir = tempfile::tempdir().expect("dir");
        let cloud = Cloud::start(|_, _| Verdict::Accept).await;
        let started = edge_node::start(with_programs(dir.path(), &cloud, cameras)).await;
        let error = started
            .err()
            .map(|error| format!("{error:#}"))
            .unwrap_or_default();
        assert!(error.contains(sentence), "{cameras:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}
