//! Frames that are too old or too many are removed, oldest first, and counted out everywhere.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Cloud, LIMIT, frame, label_only, with_original};
use tokio::time::timeout;
use uuid::Uuid;

const MIB: u64 = 1 << 20;

/// Two frames of camera `old`, then enough of camera `new` to fill more than 1 MiB; all settled.
async fn filled() -> (Cloud, Vec<Uuid>) {
    let cloud = Cloud::start().await;
    let mut node = cloud.node().await;
    let mut ids = vec![
        node.accepted(with_original(frame("old", 200, 180))).await,
        node.accepted(label_only("old")).await,
    ];
    for _ in 0..14 {
        ids.push(node.accepted(with_original(frame("new", 200, 180))).await);
    }
    for (n, &id) in ids.iter().enumerate() {
        let state = if n == 1 { "labelled" } else { "decoded" };
        cloud.until(id, state).await;
    }
    (cloud, ids)
}

/// Polls until at most this many bytes are kept.
async fn until_kept(cloud: &Cloud, most: u64) -> Value {
    let poll = async {
        loop {
            let state = cloud.json("/api/v1/retention").await;
            if state["kept"]["bytes"].as_u64().expect("bytes") <= most {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, poll).await.expect("removed in time")
}

#[tokio::test]
async fn the_oldest_go_when_there_are_too_many_bytes() {
    let (cloud, ids) = filled().await;
    let before = cloud.json("/api/v1/retention").await;
    assert_eq!(
        before["policy"],
        json!({ "max_age_s": null, "max_bytes": null })
    );
    assert_eq!(before["kept"]["frames"], 16);
    assert_eq!(before["kept"]["bytes"], cloud.object_bytes());
    assert_eq!(before["due"], json!({ "frames": 0, "bytes": 0 }));

    // A dry run lists the frames that a policy would remove, and removes none.
    let dry = cloud.json("/api/v1/retention?max_bytes=1048576").await;
    let due = dry["due"]["frames"].as_u64().expect("frames") as usize;
    assert!((3..15).contains(&due), "{dry}");
    assert_eq!(cloud.json("/api/v1/retention").await, before);

    let cloud = cloud
        .restart(|config| config.retention.max_bytes = Some(MIB))
        .await;
    let after = until_kept(&cloud, MIB).await;
    assert_eq!(after["kept"]["frames"], 16 - due);
    assert_eq!(after["kept"]["bytes"], cloud.object_bytes());
    for (n, id) in ids.iter().enumerate() {
        let expected = if n < due { 404 } else { 200 };
        let record = cloud.http(&format!("/api/v1/frames/{id}")).await;
        assert_eq!(record.status(), expected, "frame {n} of which {due} go");
    }
    let cameras = cloud.json("/api/v1/cameras").await;
    let cameras = cameras["cameras"].as_array().expect("cameras");
    assert_eq!(cameras.len(), 1, "{cameras:?}");
    let left = 16 - due as u64;
    for (key, value) in [
        ("camera", json!("new")),
        ("frames", json!(left)),
        ("decoded", json!(left)),
        ("measured", json!(left)),
        ("pixels", json!(left * 200 * 180)),
        ("last_frame", json!(ids[15])),
    ] {
        assert_eq!(cameras[0][key], value, "{key}");
    }
    cloud.running.shutdown().await;
}

#[tokio::test]
async fn what_is_too_old_goes() {
    let (cloud, _) = filled().await;
    let cloud = cloud
        .restart(|config| config.retention.max_age_s = Some(1))
        .await;
    let state = until_kept(&cloud, 0).await;
    assert_eq!(state["kept"], json!({ "frames": 0, "bytes": 0 }));
    assert_eq!(cloud.objects(), 0);
    let cameras = cloud.json("/api/v1/cameras").await;
    assert_eq!(cameras, json!({ "cameras": [], "total": 0, "next": null }));
    let metrics = cloud.http("/metrics").await.text().await.expect("text");
    assert!(
        metrics.contains("cloud_decoder_frames_removed_total 16"),
        "{metrics}"
    );
    cloud.running.shutdown().await;
}

#[tokio::test]
async fn a_policy_out_of_range_is_refused() {
    let cloud = Cloud::start().await;
    let refused = cloud.http("/api/v1/retention?max_bytes=5").await;
    assert_eq!(refused.status(), 400);
    let told = refused.text().await.expect("text");
    assert!(told.contains("retention.max_bytes is 5, allowed"), "{told}");
    cloud.running.shutdown().await;
}
