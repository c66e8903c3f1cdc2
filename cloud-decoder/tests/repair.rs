//! Inconsistent rows and objects are made consistent again.

mod support;

use std::{fs, path::PathBuf, time::SystemTime};

use cloud_decoder::store::objects::{Kind, Objects};
use patchwire_proto::v1::edge_message::Body;
use serde_json::{Value, json};
use sqlx::Connection as _;
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

async fn retry(cloud: &Cloud, id: Uuid) -> (u16, Value) {
    let url = cloud.url(&format!("/api/v1/frames/{id}/retry"));
    let response = testing::client().post(url).send().await.expect("HTTP");
    let status = response.status().as_u16();
    (status, response.json().await.expect("JSON"))
}

/// Backdates the file of an object.
fn age(file: &std::path::Path) {
    let opened = fs::File::options().append(true).open(file).expect("file");
    opened.set_modified(SystemTime::UNIX_EPOCH).expect("a time");
}

fn catalogue(cloud: &Cloud) -> PathBuf {
    cloud.config.data_dir.join("catalogue.sqlite")
}

async fn database(cloud: &Cloud) -> sqlx::SqliteConnection {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(catalogue(cloud));
    sqlx::SqliteConnection::connect_with(&options)
        .await
        .expect("catalogue")
}

async fn metric(cloud: &Cloud, name: &str) -> f64 {
    let text = cloud.http("/metrics").await.text().await.expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.unwrap_or_else(|| panic!("no {name} in {text}"));
    value.trim().parse().expect("number")
}

/// A frame of each kind, decoded, with their records.
async fn kinds(cloud: &Cloud) -> Vec<(Uuid, Value)> {
    let mut node = cloud.node().await;
    let sent = [
        (frame("gate", 64, 64), "decoded"),
        (with_original(frame("gate", 200, 180)), "decoded"),
        (label_only("door"), "labelled"),
    ];
    let mut records = Vec::new();
    for (frame, state) in sent {
        let id = node.accepted(frame).await;
        records.push((id, cloud.until(id, state).await));
    }
    records
}

/// A record without the fields that decoding it again changes.
fn lasting(mut record: Value) -> Value {
    let parts = record.as_object_mut().expect("record");
    for name in [
        "decode_ms",
        "measure_ms",
        "store_ms",
        "finished_ms",
        "received_ms",
        // How a frame came is in its row alone.
        "latents",
    ] {
        parts.remove(name);
    }
    record
}

#[tokio::test]
async fn a_lost_catalogue_is_noticed_and_made_again_from_the_objects() {
    let cloud = Cloud::start().await;
    let before = kinds(&cloud).await;
    let kept = cloud.json("/api/v1/retention").await["kept"].clone();
    let (config, folder) = cloud.stop().await;
    fs::remove_file(config.data_dir.join("catalogue.sqlite")).expect("lost");
    let Err(refused) = cloud_decoder::start(config.clone()).await else {
        panic!("a service with a new catalogue and old objects started");
    };
    assert!(refused.to_string().contains("adopt"), "{refused:#}");

    let done = cloud_decoder::adopt(&config).await.expect("adopted");
    assert_eq!((done.frames, done.adopted, done.set_aside), (3, 3, 0));
    let cloud = Cloud::start_on(config, folder).await;
    for (id, record) in before {
        let after = cloud
            .until(id, record["state"].as_str().expect("state"))
            .await;
        assert_eq!(lasting(after), lasting(record));
    }
    assert_eq!(cloud.json("/api/v1/retention").await["kept"], kept);
    cloud.running.shutdown().await;
}

#[tokio::test]
async fn catalogue_and_objects_of_different_stores_do_not_start() {
    let (one, other) = (Cloud::start().await, Cloud::start().await);
    let (first, second) = (one.config.data_dir.clone(), other.config.data_dir.clone());
    one.running.shutdown().await;
    other.running.shutdown().await;
    fs::remove_dir_all(second.join("objects")).expect("removed");
    let Err(refused) = cloud_decoder::start(other.config.clone()).await else {
        panic!("a service without its objects started");
    };
    assert!(refused.to_string().contains("not here"), "{refused:#}");
    fs::rename(first.join("objects"), second.join("objects")).expect("moved");
    for refused in [
        cloud_decoder::start(other.config.clone()).await.map(drop),
        cloud_decoder::adopt(&other.config).await.map(drop),
    ] {
        let error = refused.expect_err("they are of different stores");
        assert!(error.to_string().contains("belong together"), "{error:#}");
    }
}

#[tokio::test]
async fn nothing_is_changed_while_many_frames_have_no_row() {
    let cloud = Cloud::start().await;
    kinds(&cloud).await;
    let cloud = cloud.restart(|_| {}).await;
    let copy = cloud.folder.path().join("copy");
    fs::copy(catalogue(&cloud), &copy).expect("backup");
    let mut node = cloud.node().await;
    let mut later = Vec::new();
    for _ in 0..20 {
        later.push(node.accepted(frame("gate", 64, 64)).await);
    }
    for &id in &later {
        cloud.until(id, "decoded").await;
        age(&file(&cloud, "latents", id));
    }
    let objects_before = cloud.objects();
    let (config, folder) = cloud.stop().await;
    // The backup in place of the catalogue.
    for tail in ["", "-wal", "-shm"] {
        fs::remove_file(config.data_dir.join(format!("catalogue.sqlite{tail}"))).ok();
    }
    fs::copy(&copy, config.data_dir.join("catalogue.sqlite")).expect("restored");
    let cloud = Cloud::start_on(config, folder).await;
    let counted = async || (metric(&cloud, "cloud_decoder_orphans ").await == 20.0).then_some(());
    testing::eventually("the orphans are counted", LIMIT, counted).await;
    assert_eq!(cloud.objects(), objects_before, "an object is gone");
    let (config, folder) = cloud.stop().await;

    let done = cloud_decoder::adopt(&config).await.expect("adopted");
    assert_eq!((done.frames, done.adopted, done.set_aside), (23, 20, 0));
    let cloud = Cloud::start_on(config, folder).await;
    for id in later {
        cloud.until(id, "decoded").await;
    }
    assert_eq!(metric(&cloud, "cloud_decoder_orphans ").await, 0.0);
    cloud.running.shutdown().await;
}

#[tokio::test]
async fn a_frame_that_a_crash_left_without_its_row_gets_it() {
    let cloud = Cloud::start().await;
    let mut node = cloud.node().await;
    let id = node.accepted(with_original(frame("gate", 64, 64))).await;
    let incomplete = node.accepted(with_original(frame("gate", 64, 64))).await;
    let before = cloud.until(id, "decoded").await;
    cloud.until(incomplete, "decoded").await;
    // An object of a version that did not store all fields of the row.
    let old = Uuid::now_v7();
    let kept = objects(&cloud);
    let put = kept.put(Kind::Latents, old, frame("gate", 64, 64).latents);
    put.await.expect("put");
    objects(&cloud)
        .delete_one(Kind::Original, incomplete)
        .await
        .expect("deleted");
    for id in [id, incomplete, old] {
        age(&file(&cloud, "latents", id));
    }
    // As left by a process that was killed while it wrote.
    let path = file(&cloud, "latents", id).with_extension("pwl#7");
    fs::File::create(&path).expect("file");
    age(&path);
    let mut rows = database(&cloud).await;
    sqlx::query("DELETE FROM frames")
        .execute(&mut rows)
        .await
        .expect("deleted");
    drop(rows);
    let cloud = cloud.restart(|_| {}).await;
    let path_of = format!("/api/v1/frames/{id}");
    let there = async || (cloud.http(&path_of).await.status() == 200).then_some(());
    testing::eventually("the row is there", LIMIT, there).await;
    assert_eq!(lasting(cloud.until(id, "decoded").await), lasting(before));
    let swept = async || (!path.exists()).then_some(());
    testing::eventually("the unfinished file is deleted", LIMIT, swept).await;
    for id in [incomplete, old] {
        assert_eq!(
            cloud.http(&format!("/api/v1/frames/{id}")).await.status(),
            404
        );
        let size = objects(&cloud).size(Kind::Latents, id).await;
        assert!(size.expect("size").is_some(), "{id} was deleted");
    }
    assert_eq!(metric(&cloud, "cloud_decoder_orphans ").await, 2.0);

    // By hand: frames with a record are adopted as far as their objects exist; the others are set aside and no longer
    // counted.
    let (config, folder) = cloud.stop().await;
    let done = cloud_decoder::adopt(&config).await.expect("adopted");
    assert_eq!((done.frames, done.adopted, done.set_aside), (3, 1, 1));
    let cloud = Cloud::start_on(config, folder).await;
    cloud.until(incomplete, "decoded").await;
    let counted = async || (metric(&cloud, "cloud_decoder_orphans ").await == 0.0).then_some(());
    testing::eventually("no orphan is left", LIMIT, counted).await;
    let aside = cloud.config.data_dir.join("objects/set-aside");
    assert!(aside.exists(), "the old object is gone");
    cloud.running.shutdown().await;
}

#[tokio::test]
async fn a_frame_whose_objects_are_damaged_is_parked_until_they_are_whole() {
    let cloud = Cloud::start().await;
    let mut node = cloud.node().await;
    let id = node.accepted(with_original(frame("gate", 64, 64))).await;
    cloud.until(id, "decoded").await;
    for folder in ["latents", "originals"] {
        let path = file(&cloud, folder, id);
        let whole = fs::read(&path).expect("object");
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 1;
        fs::write(&path, &damaged).expect("damaged");
        assert_eq!(retry(&cloud, id).await.0, 202);
        let failed = cloud.until(id, "failed").await;
        let reason = "its objects are damaged where they are kept";
        assert_eq!(failed["failure"], reason, "{folder}");
        assert_eq!(
            fs::read(&path).expect("object"),
            damaged,
            "the object is kept"
        );
        fs::write(&path, &whole).expect("whole again");
        cloud.until(id, "decoded").await;
    }
    cloud.running.shutdown().await;
}

#[tokio::test]
async fn processes_that_end_in_mid_decode_are_not_the_frames_fault() {
    let cloud = Cloud::start_with(|config| config.decode.max_attempts = 1).await;
    let mut node = cloud.node().await;
    let id = node.accepted(frame("gate", 64, 64)).await;
    let lethal = node.accepted(frame("gate", 64, 64)).await;
    cloud.until(id, "decoded").await;
    cloud.until(lethal, "decoded").await;
    let mut rows = database(&cloud).await;
    // As after forty kills, and as after twenty while it ran alone in a process that had decoded other frames.
    let was = "UPDATE frames SET state = 'queued', attempts = 0, begun = 40, deaths = $1 WHERE frame_id = $2";
    for (frame, deaths) in [(id, 0), (lethal, 20)] {
        let update = sqlx::query(was)
            .bind(deaths)
            .bind(frame.as_bytes().as_slice());
        update.execute(&mut rows).await.expect("written");
    }
    drop(rows);
    let cloud = cloud.restart(|_| {}).await;
    cloud.until(id, "decoded").await;
    let failed = cloud.until(lethal, "failed").await;
    let reason = "the process ended 20 times in a row while it decoded this frame alone";
    assert_eq!(failed["failure"], reason);
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

/// As when a disk is not mounted: an empty folder is in the place of the objects.
#[tokio::test]
async fn while_the_objects_are_away_no_frame_fails_and_none_is_taken() {
    let cloud = Cloud::start().await;
    let mut node = cloud.node().await;
    let id = node.accepted(with_original(frame("gate", 64, 64))).await;
    cloud.until(id, "decoded").await;
    let folder = cloud.config.data_dir.join("objects");
    let away = cloud.config.data_dir.join("away");
    fs::rename(&folder, &away).expect("moved");
    fs::create_dir(&folder).expect("an empty folder");

    assert_eq!(cloud.http("/readyz").await.status(), 503);
    assert_eq!(retry(&cloud, id).await.0, 202);
    let tried = async || {
        let failed = metric(&cloud, "cloud_decoder_decode_attempts_failed_total").await;
        (failed > 3.0).then_some(())
    };
    testing::eventually("the frame is tried", LIMIT, tried).await;
    let record = cloud.json(&format!("/api/v1/frames/{id}")).await;
    assert_eq!(record["state"], "queued", "{record}");
    let late = with_original(frame("gate", 64, 64));
    node.send(Body::Frame(late.clone())).await;
    let answer = node.next().await;
    assert!(
        answer.is_err(),
        "a frame was taken into the wrong place: {answer:?}"
    );

    fs::remove_dir(&folder).expect("nothing was written there");
    fs::rename(&away, &folder).expect("moved back");
    cloud.until(id, "decoded").await;
    assert_eq!(cloud.http("/readyz").await.status(), 200);
    let mut node = cloud.node().await;
    assert_eq!(
        node.accepted(late.clone()).await,
        Uuid::from_slice(&late.frame_id).expect("id")
    );
}
