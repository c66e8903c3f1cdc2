//! The two real binaries on free ports: photographs in over HTTP, killed services, each frame once.

mod common;
mod services;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use services::Service;
use testing::eventually;

const ANY_PORT: &str = "127.0.0.1:0";
/// For eight frames through encoder and decoder on a busy machine without optimized services.
const PATIENCE: Duration = Duration::from_secs(180);

/// Posts sample photograph `i` and gives the id of the accepted frame.
async fn post(edge: &Service, i: usize) -> String {
    post_task(edge, i, "both").await
}

async fn post_task(edge: &Service, i: usize, task: &str) -> String {
    let photograph = &common::photographs()[i];
    let url = format!(
        "http://{}/v1/frames?camera=gate-{}&task={task}",
        edge.http,
        i % 2
    );
    let response = testing::client()
        .post(url)
        .header("content-type", "image/jpeg")
        .body(std::fs::read(photograph).expect("sample is readable"))
        .send()
        .await
        .expect("the edge node answers");
    assert_eq!(response.status(), 202, "{}", photograph.display());
    let answer: Value = response.json().await.expect("an answer in JSON");
    answer["frame_id"].as_str().expect("a frame id").to_owned()
}

/// All frames that the cloud holds, in whatever state.
async fn frames(cloud: &Service) -> Vec<Value> {
    let page = cloud.get("/api/v1/frames?limit=500").await;
    page["frames"].as_array().expect("a list of frames").clone()
}

/// Waits until all of `ids` are decoded, then checks that they are there once, whole and measured.
async fn each_is_there_once(cloud: &Service, ids: &[String]) {
    let frames = eventually("every frame is decoded", PATIENCE, async || {
        let frames = frames(cloud).await;
        let decoded = frames.iter().filter(|frame| frame["state"] == "decoded");
        (decoded.count() >= ids.len()).then_some(frames)
    })
    .await;
    let there: Vec<&str> = frames
        .iter()
        .filter_map(|frame| frame["id"].as_str())
        .collect();
    let sent: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
    assert_eq!(there.len(), ids.len(), "not each frame exactly once");
    assert_eq!(there.into_iter().collect::<BTreeSet<_>>(), sent);

    for frame in &frames {
        assert_eq!(frame["bpp"], 0.25, "{frame}");
        let latents = &frame["latents"];
        let coded = ["intra", "reference"].map(Value::from);
        assert!(coded.contains(&latents["travelled"]), "{frame}");
        assert!(
            latents["wire_bytes"].as_u64() < latents["container_bytes"].as_u64(),
            "{frame}"
        );
        for figure in ["psnr_db", "ssim", "ms_ssim", "seam_ratio"] {
            assert!(
                frame["quality"][figure].is_f64(),
                "{figure} is missing: {frame}"
            );
        }
        assert!(frame["label"]["scores"][0]["label"].is_string(), "{frame}");
        let path = frame["images"]["reconstruction"]
            .as_str()
            .expect("a reconstruction");
        let response = testing::client()
            .get(format!("http://{}{path}", cloud.http))
            .send()
            .await
            .expect("the cloud answers");
        let png = response.bytes().await.expect("an image");
        let size = image::ImageReader::new(std::io::Cursor::new(png))
            .with_guessed_format()
            .expect("a known format")
            .into_dimensions()
            .expect("an image");
        let expected = (frame["width"].as_u64(), frame["height"].as_u64());
        assert_eq!((Some(size.0.into()), Some(size.1.into())), expected);
    }
}

/// A counter of an edge node.
async fn counter(edge: &Service, name: &str) -> u64 {
    let url = format!("http://{}/metrics", edge.http);
    let response = testing::client()
        .get(url)
        .send()
        .await
        .expect("the edge node answers");
    let text = response.text().await.expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.trim().parse().ok())
        .unwrap_or_else(|| panic!("no {name} in\n{text}"))
}

#[tokio::test]
async fn streams_that_grow_old_are_followed_by_others_and_each_frame_arrives_once() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let data = folder.path().join("cloud");
    let age = [("CLOUD_DECODER_GRPC__MAX_CONNECTION_AGE_S", "1")];
    let cloud = Service::cloud_with(&data, ANY_PORT, &age, Stdio::inherit()).await;
    let edge = Service::edge(&folder.path().join("spool.sqlite"), &cloud.grpc).await;

    let mut sent = BTreeSet::new();
    let deadline = Instant::now() + PATIENCE;
    while counter(&edge, "edge_node_uplink_drained_total").await < 3 {
        assert!(Instant::now() < deadline, "no three streams were drained");
        sent.insert(post_task(&edge, sent.len() % 8, "classify").await);
    }
    eventually("every frame arrives", PATIENCE, async || {
        let arrived = cloud.get("/api/v1/summary").await["frames"].as_u64();
        (arrived >= Some(sent.len() as u64)).then_some(())
    })
    .await;
    let arrived = cloud.get("/api/v1/summary").await["frames"].as_u64();
    assert_eq!(arrived, Some(sent.len() as u64), "each once");
    let acks = "edge_node_uplink_acks_total{status=\"accepted\"}";
    assert_eq!(counter(&edge, acks).await, sent.len() as u64);
    let sends = counter(&edge, "edge_node_uplink_frames_sent_total").await;
    assert_eq!(sends, sent.len() as u64, "none was sent twice");
}

#[tokio::test]
async fn a_killed_cloud_loses_and_repeats_nothing() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (data, spool) = (
        folder.path().join("cloud"),
        folder.path().join("spool.sqlite"),
    );
    let cloud = Service::cloud(&data, ANY_PORT).await;
    let grpc = cloud.grpc.clone();
    let edge = Service::edge(&spool, &grpc).await;

    let mut ids = Vec::new();
    for i in 0..4 {
        ids.push(post(&edge, i).await);
    }
    eventually("a frame reaches the cloud", PATIENCE, async || {
        (!frames(&cloud).await.is_empty()).then_some(())
    })
    .await;
    cloud.kill().await;
    for i in 4..8 {
        ids.push(post(&edge, i).await);
    }
    let cloud = Service::cloud(&data, &grpc).await;

    each_is_there_once(&cloud, &ids).await;
    for id in &ids {
        eventually("the edge knows of the delivery", PATIENCE, async || {
            let status = edge.get(&format!("/v1/frames/{id}")).await;
            let state = status["state"].as_str();
            matches!(state, Some("delivered" | "duplicate")).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_killed_edge_keeps_its_backlog() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (data, spool) = (
        folder.path().join("cloud"),
        folder.path().join("spool.sqlite"),
    );
    let cloud = Service::cloud(&data, ANY_PORT).await;
    let grpc = cloud.grpc.clone();
    cloud.kill().await;

    let edge = Service::edge(&spool, &grpc).await;
    let mut ids = Vec::new();
    for i in 0..8 {
        ids.push(post(&edge, i).await);
    }
    edge.kill().await;

    let cloud = Service::cloud(&data, &grpc).await;
    let edge = Service::edge(&spool, &grpc).await;
    eventually("a frame reaches the cloud", PATIENCE, async || {
        (!frames(&cloud).await.is_empty()).then_some(())
    })
    .await;
    // Somewhere among frames sent, acknowledged and neither.
    edge.kill().await;
    let _edge = Service::edge(&spool, &grpc).await;
    each_is_there_once(&cloud, &ids).await;
}

#[tokio::test]
async fn send_posts_files_and_waits_for_their_delivery() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let cloud = Service::cloud(&folder.path().join("cloud"), ANY_PORT).await;
    let edge = Service::edge(&folder.path().join("spool.sqlite"), &cloud.grpc).await;
    let url = format!("http://{}", edge.http);
    let samples = common::samples().display().to_string();
    let shown = tokio::task::spawn_blocking(move || {
        common::succeeds([
            "send", &samples, "--edge", &url, "--camera", "gate", "--wait",
        ])
    })
    .await
    .expect("send ends");
    assert_eq!(shown.matches("delivered").count(), 8, "{shown}");
    let there = frames(&cloud).await;
    assert_eq!(there.len(), 8);
    assert!(there.iter().all(|frame| frame["camera"] == "gate"));

    let broken = folder.path().join("broken.png");
    std::fs::write(&broken, b"\x89PNG\r\n\x1a\n and no more").expect("file can be written");
    let url = format!("http://{}", edge.http);
    let error = tokio::task::spawn_blocking(move || {
        common::fails([
            "send".as_ref(),
            broken.as_os_str(),
            "--edge".as_ref(),
            url.as_ref(),
        ])
    })
    .await
    .expect("send ends");
    assert!(error.contains("1 of 1 frames"), "{error}");
}

#[tokio::test]
async fn pictures_as_cameras_make_them_arrive_upright_and_are_measured() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let cloud = Service::cloud(&folder.path().join("cloud"), ANY_PORT).await;
    let edge = Service::edge(&folder.path().join("spool.sqlite"), &cloud.grpc).await;
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let jpegs = tests.join("../../media/tests/jpegs");
    let mut arguments = vec!["send".to_owned(), "--edge".to_owned()];
    arguments.push(format!("http://{}", edge.http));
    let sides = ["g-16384x8.png", "g-8x16384.png"].map(|name| tests.join("sides").join(name));
    let names = ["exif6.jpg", "planar.jpg", "nodht.jpg", "dnl.jpg"];
    let files = sides.into_iter().chain(names.map(|name| jpegs.join(name)));
    arguments.extend(files.map(|path| path.display().to_string()));
    let sent = tokio::task::spawn_blocking(move || common::succeeds(arguments));
    sent.await.expect("send ends");
    let measured = eventually("each is measured", PATIENCE, async || {
        let frames = frames(&cloud).await;
        let measured = frames
            .iter()
            .all(|frame| frame["quality"]["psnr_db"].is_f64());
        (frames.len() == 6 && measured).then_some(frames)
    })
    .await;
    let size =
        |frame: &Value| [frame["width"].as_u64(), frame["height"].as_u64()].map(Option::unwrap);
    let mut sizes: Vec<_> = measured.iter().map(size).collect();
    sizes.sort_unstable();
    let plain = [96, 64];
    assert_eq!(
        sizes,
        [[8, 16_384], [64, 96], plain, plain, plain, [16_384, 8]]
    );
}
