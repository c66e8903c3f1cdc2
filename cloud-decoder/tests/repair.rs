//! Rows and objects that do not belong together are brought together again.

mod support;

use std::{fs, path::PathBuf, time::SystemTime};

use cloud_decoder::objects::{Kind, Objects};
use serde_json::json;
use support::{Cloud, LIMIT, frame, label_only, with_original};
use tokio::time::timeout;
use uuid::Uuid;

fn objects(cloud: &Cloud) -> Objects {
    Objects::local(&cloud.config.data_dir.join("objects")).expect("objects")
}

/// The file of an object, found by its frame.
fn file(cloud: &Cloud, folder: &str, frame: Uuid) -> PathBuf {
    let mut at = vec![cloud.config.data_dir.join("objects").join(folder)];
    while let Some(path) = at.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("folder");
            at.extend(entries.map(|entry| entry.expect("entry").path()));
        } else if path.to_string_lossy().contains(&frame.to_string()) {
            return path;
        }
    }
    panic!("no object of {frame} in {folder}");
}

async fn retry(cloud: &Cloud, id: Uuid) -> (u16, serde_json::Value) {
    let url = cloud.url(&format!("/api/v1/frames/{id}/retry"));
    let response = testing::client().post(url).send().await.expect("HTTP");
    let status = response.status().as_u16();
    (status, response.json().await.expect("JSON"))
}

#[tokio::test]
async fn an_object_that_no_row_knows_goes_after_a_day() {
    let cloud = Cloud::start().await;
    let mut node = cloud.node().await;
    let known = node.accepted(frame("gate", 64, 64)).await;
    cloud.until(known, "decoded").await;
    let (old, young) = (Uuid::now_v7(), Uuid::now_v7());
    for id in [old, young] {
        let objects = objects(&cloud);
        let put = objects.put(Kind::Latents, id, vec![0; 10].into());
        put.await.expect("put");
    }
    for id in [old, known] {
        let file = fs::File::options()
            .append(true)
            .open(file(&cloud, "latents", id))
            .expect("file");
        file.set_modified(SystemTime::UNIX_EPOCH).expect("a time");
    }
    // As a process that was killed while it wrote leaves them.
    let path = file(&cloud, "latents", known).with_extension("pwl#7");
    let unfinished = fs::File::create(&path).expect("file");
    unfinished
        .set_modified(SystemTime::UNIX_EPOCH)
        .expect("a time");
    let cloud = cloud.restart(|_| {}).await;
    let gone = async {
        while objects(&cloud)
            .size(Kind::Latents, old)
            .await
            .expect("size")
            .is_some()
        {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, gone).await.expect("deleted in time");
    let swept = async || (!path.exists()).then_some(());
    testing::eventually("the unfinished file is deleted", LIMIT, swept).await;
    for id in [young, known] {
        let size = objects(&cloud).size(Kind::Latents, id).await;
        assert!(size.expect("size").is_some(), "{id} was deleted");
    }
    cloud.running.shutdown().await;
}

#[tokio::test]
async fn a_frame_without_its_pictures_is_decoded_again() {
    let cloud = Cloud::start().await;
    let mut node = cloud.node().await;
    let id = node.accepted(with_original(frame("gate", 200, 180))).await;
    let before = cloud.until(id, "decoded").await;
    let cameras = cloud.json("/api/v1/cameras").await;
    fs::remove_file(file(&cloud, "reconstructions", id)).expect("remove");

    let cloud = cloud.restart(|_| {}).await;
    let picture = format!("/api/v1/frames/{id}/reconstruction.png");
    let back = async {
        while cloud.http(&picture).await.status() != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, back).await.expect("decoded in time");
    let after = cloud.until(id, "decoded").await;
    assert_eq!(after["quality"], before["quality"]);
    let kept = &cloud.json("/api/v1/retention").await["kept"];
    assert_eq!(*kept, json!({ "frames": 1, "bytes": cloud.object_bytes() }));
    let mut again = cloud.json("/api/v1/cameras").await;
    again["cameras"][0]["live"] = cameras["cameras"][0]["live"].clone();
    assert_eq!(again, cameras, "the sums are as before");
    cloud.running.shutdown().await;
}

#[tokio::test]
async fn a_frame_whose_latents_are_gone_fails_until_they_are_back() {
    let cloud = Cloud::start_with(|config| config.decode.max_attempts = 1).await;
    let mut node = cloud.node().await;
    let sent = frame("gate", 64, 64);
    let latents = sent.latents.clone();
    let id = node.accepted(sent).await;
    cloud.until(id, "decoded").await;
    objects(&cloud).delete(id).await.expect("delete");

    let (status, queued) = retry(&cloud, id).await;
    assert_eq!((status, &queued["state"]), (202, &json!("queued")));
    let failed = cloud.until(id, "failed").await;
    assert_eq!(failed["failure"], "the latents object is missing");
    assert_eq!(
        cloud.json("/api/v1/cameras").await["cameras"][0]["failed"],
        1
    );

    let put = objects(&cloud).put(Kind::Latents, id, latents).await;
    put.expect("put");
    assert_eq!(retry(&cloud, id).await.0, 202);
    cloud.until(id, "decoded").await;
    let camera = &cloud.json("/api/v1/cameras").await["cameras"][0];
    assert_eq!(
        (&camera["failed"], &camera["decoded"]),
        (&json!(0), &json!(1))
    );
    cloud.running.shutdown().await;
}

#[tokio::test]
async fn what_cannot_be_decoded_again_is_said() {
    let cloud = Cloud::start().await;
    let mut node = cloud.node().await;
    let label = node.accepted(label_only("gate")).await;
    let (status, told) = retry(&cloud, label).await;
    assert_eq!(status, 409);
    let sentence = "only a label was sent, there is nothing to decode";
    assert_eq!(told["error"], sentence);
    assert_eq!(retry(&cloud, Uuid::now_v7()).await.0, 404);
    cloud.running.shutdown().await;
}
