//! `load` against a real cloud decoder: what it says is what the cloud has. How fast that was is not judged here.

mod common;
mod services;

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use services::Service;
use testing::eventually;
use tokio::task::{JoinHandle, spawn_blocking};

const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `load` against the cloud at `grpc` and reads its figures.
fn load(grpc: &str, arguments: &[&str]) -> JoinHandle<Value> {
    let cloud = format!("http://{grpc}");
    let always = ["load", "--cloud", &cloud, "--size", "64x48", "--json", "-"];
    let arguments = [&always, arguments].concat();
    let arguments: Vec<_> = arguments.into_iter().map(str::to_owned).collect();
    spawn_blocking(|| serde_json::from_str(&common::succeeds(arguments)).expect("JSON"))
}

fn count(figures: &Value, key: &str) -> u64 {
    let count = figures[key].as_u64();
    count.unwrap_or_else(|| panic!("{key} is a count: {figures}"))
}

/// Ids of all frames that the cloud holds, each as often as it is listed.
async fn ids(cloud: &Service) -> Vec<String> {
    let mut ids = Vec::new();
    let mut before = String::new();
    loop {
        let page = cloud
            .get(&format!("/api/v1/frames?limit=500{before}"))
            .await;
        let frames = page["frames"].as_array().expect("frames");
        ids.extend(
            frames
                .iter()
                .map(|f| f["id"].as_str().expect("an id").to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => before = format!("&before={next}"),
            None => return ids,
        }
    }
}

async fn connected(cloud: &Service) -> usize {
    let nodes = cloud.get("/api/v1/nodes").await;
    let nodes = nodes["nodes"].as_array().expect("nodes");
    nodes.iter().filter(|n| n["connected"] == true).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_frame_of_many_nodes_is_acknowledged_and_there_once() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let cloud = Service::cloud(folder.path(), "127.0.0.1:0").await;
    let arguments = ["--nodes", "48", "--rate", "40", "--seconds", "3"];
    let running = load(&cloud.grpc, &arguments);
    eventually("all nodes are connected", PATIENCE, async || {
        (connected(&cloud).await == 48).then_some(())
    })
    .await;
    let figures = running.await.expect("the load ends");
    assert_eq!(count(&figures, "nodes"), 48);
    assert!(count(&figures, "offered") > 0, "{figures}");
    assert_eq!(figures["acked"], figures["offered"], "{figures}");
    for none in [
        "refused",
        "unacked",
        "overflowed",
        "missed_heartbeats",
        "streams_lost",
    ] {
        assert_eq!(count(&figures, none), 0, "{none}: {figures}");
    }
    let latency = |key: &str| figures["latency_ms"][key].as_f64().expect("a latency");
    assert!(
        0.0 < latency("p50") && latency("p50") <= latency("p99"),
        "{figures}"
    );
    assert!(latency("p99") <= latency("max"), "{figures}");
    let ids = ids(&cloud).await;
    assert_eq!(ids.len() as u64, count(&figures, "offered"));
    eventually("all nodes are gone", PATIENCE, async || {
        (connected(&cloud).await == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_that_dies_gets_its_frames_when_it_is_back() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let cloud = Service::cloud(folder.path(), "127.0.0.1:0").await;
    let grpc = cloud.grpc.clone();
    let running = load(&grpc, &["--nodes", "8", "--rate", "20", "--seconds", "6"]);
    eventually("frames come", PATIENCE, async || {
        (!ids(&cloud).await.is_empty()).then_some(())
    })
    .await;
    cloud.kill().await;
    let cloud = Service::cloud(folder.path(), &grpc).await;
    let figures = running.await.expect("the load ends");
    assert_eq!(figures["acked"], figures["offered"], "{figures}");
    assert!(count(&figures, "streams_lost") >= 8, "{figures}");
    assert_eq!(count(&figures, "reconnects"), 8, "{figures}");
    assert!(figures["first_loss"].is_string(), "{figures}");
    let ids = ids(&cloud).await;
    let unique: BTreeSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len(), "a frame is there twice");
    assert_eq!(ids.len() as u64, count(&figures, "offered"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_cannot_begin_says_why() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let limit = [("CLOUD_DECODER_GRPC__MAX_STREAMS", "4")];
    let cloud = Service::cloud_with(folder.path(), "127.0.0.1:0", &limit, Stdio::inherit()).await;
    let full = format!("http://{}", cloud.grpc);
    for (arguments, reason) in [
        (
            ["--cloud", &full, "--nodes", "5"],
            "4 uplink streams are open",
        ),
        (
            ["--cloud", "http://127.0.0.1:1", "--nodes", "2"],
            "cannot reach the cloud",
        ),
        (
            ["--cloud", "nowhere", "--nodes", "2"],
            "\"nowhere\" is not of the form http://HOST:PORT",
        ),
        (
            ["--cloud", &full, "--tokens", "no-such-folder"],
            "load-1.token",
        ),
    ] {
        let arguments: Vec<_> = ["load", "--size", "64x48"]
            .into_iter()
            .chain(arguments)
            .map(str::to_owned)
            .collect();
        let said = spawn_blocking(|| common::fails(arguments))
            .await
            .expect("it ends");
        assert!(said.contains(reason), "{said}");
    }
    let few = "ulimit -n 100 && exec \"$0\" load --nodes 100 --size 64x48";
    let mut few_files = Command::new("sh");
    few_files.args(["-c", few, env!("CARGO_BIN_EXE_patchwire")]);
    let said = few_files.output().expect("sh starts").stderr;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("100 nodes take 164 open files"), "{said}");
}
