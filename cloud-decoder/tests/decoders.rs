//! Each picture names the decoder that made it, also after another decoder has come.

mod support;

use std::{fs, path::Path};

use cloud_decoder::Config;
use latent::LatentFrame;
use patchwire_proto::v1::GetFrameRequest;
use purenet::Decoder;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sqlx::Connection as _;
use support::{Cloud, PROGRAM, frame, write_decoder};
use uuid::Uuid;

fn picture(id: Uuid) -> String {
    format!("/api/v1/frames/{id}/reconstruction.png")
}

/// The id of a decoder's file.
fn file_id(path: &Path) -> [u8; 32] {
    Sha256::digest(fs::read(path).expect("a decoder")).into()
}

/// A decoder of the same latents whose first weight is a little different.
fn write_other_decoder(path: &Path) {
    write_decoder(path, PROGRAM);
    let mut bytes = fs::read(path).expect("a decoder");
    let header = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes"));
    bytes[8 + header as usize] ^= 1;
    fs::write(path, bytes).expect("another decoder");
}

/// The id in the header of a picture's answer and that in its file.
async fn named(cloud: &Cloud, id: Uuid) -> (Option<String>, Option<String>) {
    let answer = cloud.http(&picture(id)).await;
    assert_eq!(answer.status(), 200, "the picture of {id}");
    let header = answer.headers().get("x-decoder-id");
    let header = header.map(|id| id.to_str().expect("text").to_owned());
    let file = answer.bytes().await.expect("a picture");
    (
        header,
        media::reconstruction::decoder(&file).map(hex::encode),
    )
}

async fn decoded(cloud: &Cloud) -> Uuid {
    let id = cloud.node().await.accepted(frame("gate", 70, 50)).await;
    cloud.until(id, "decoded").await;
    id
}

#[tokio::test]
async fn a_picture_names_its_decoder_and_can_be_rebuilt_from_its_latents() {
    let cloud = Cloud::start().await;
    let sent = frame("gate", 70, 50);
    let latents = sent.latents.clone();
    let id = cloud.node().await.accepted(sent).await;
    let record = cloud.until(id, "decoded").await;

    let file = cloud.config.decoder.as_deref().expect("a decoder");
    let decoder = Decoder::from_safetensors(&fs::read(file).expect("a decoder")).expect("loads");
    assert_eq!(decoder.id(), file_id(file));
    let of = hex::encode(decoder.id());
    assert_eq!(record["decoder_id"], of);
    assert_eq!(
        named(&cloud, id).await,
        (Some(of.clone()), Some(of.clone()))
    );
    let summary = cloud.json("/api/v1/summary").await;
    assert_eq!(summary["decoder"]["id"], of);
    assert_eq!(summary["decoders"][0]["id"], of);
    let request = GetFrameRequest {
        frame_id: id.as_bytes().to_vec().into(),
    };
    let record = cloud.catalogue().await.get_frame(request).await;
    assert_eq!(
        record.expect("a record").into_inner().decoder_id,
        decoder.id()[..]
    );

    let path = format!("/api/v1/frames/{id}/latents.pwl");
    let served = cloud.http(&path).await.bytes().await.expect("latents");
    assert_eq!(served, latents);
    let latents = LatentFrame::decode(served).expect("a container");
    let rebuilt = decoder.decode(&latents.payload, latents.width, latents.height);
    let stored = cloud
        .http(&picture(id))
        .await
        .bytes()
        .await
        .expect("a picture");
    let stored = media::decode_as(&stored, "image/png", (70, 50)).expect("a PNG");
    assert!(
        rebuilt.expect("decodes") == stored,
        "other pixels are stored"
    );
}

#[tokio::test]
async fn a_label_has_no_latents_to_give() {
    let cloud = Cloud::start().await;
    let id = cloud
        .node()
        .await
        .accepted(support::label_only("gate"))
        .await;
    let answer = cloud
        .http(&format!("/api/v1/frames/{id}/latents.pwl"))
        .await;
    assert_eq!(answer.status(), 404);
    assert!(cloud.until(id, "labelled").await["decoder_id"].is_null());
}

#[tokio::test]
async fn another_decoder_leaves_pictures_as_they_are_until_one_is_asked_for_again() {
    let cloud = Cloud::start().await;
    let id = decoded(&cloud).await;
    let before = cloud.json(&format!("/api/v1/frames/{id}")).await;
    let old = cloud.http(&picture(id)).await;
    let old_tag = old.headers()["etag"].clone();
    let old = old.bytes().await.expect("a picture");

    let cloud = cloud
        .restart(|config: &mut Config| write_other_decoder(config.decoder.as_deref().expect("set")))
        .await;
    let file = cloud.config.decoder.clone().expect("a decoder");
    let new_id = hex::encode(file_id(&file));
    assert_ne!(before["decoder_id"], new_id);
    assert_eq!(cloud.json("/api/v1/summary").await["decoder"]["id"], new_id);
    // A frame that comes now is decoded after everything that the start would have queued.
    let later = decoded(&cloud).await;
    let of_later = Some(new_id.clone());
    assert_eq!(
        named(&cloud, later).await,
        (of_later.clone(), of_later.clone())
    );
    assert_eq!(cloud.json(&format!("/api/v1/frames/{id}")).await, before);
    assert_eq!(
        cloud
            .http(&picture(id))
            .await
            .bytes()
            .await
            .expect("a picture"),
        old
    );

    let retry = cloud.url(&format!("/api/v1/frames/{id}/retry"));
    let asked = testing::client().post(retry).send().await.expect("answer");
    let queued: Value = asked.json().await.expect("a record");
    assert!(queued["decoder_id"].is_null(), "{queued}");
    cloud.until(id, "decoded").await;
    assert_eq!(named(&cloud, id).await, (of_later.clone(), of_later));
    let new_tag = cloud.http(&picture(id)).await.headers()["etag"].clone();
    assert_ne!(new_tag, old_tag, "a browser would keep the old picture");
}

#[tokio::test]
async fn a_catalogue_from_before_keeps_its_pictures_as_of_an_earlier_decoder() {
    let cloud = Cloud::start().await;
    let id = decoded(&cloud).await;
    let before = cloud.json(&format!("/api/v1/frames/{id}")).await;
    let (config, folder) = cloud.stop().await;
    let catalogue = config.data_dir.join("catalogue.sqlite");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(catalogue);
    let mut database = sqlx::SqliteConnection::connect_with(&options)
        .await
        .expect("the catalogue");
    for was in [
        "ALTER TABLE frames DROP COLUMN decoder_id",
        "DELETE FROM _sqlx_migrations WHERE version = 13",
    ] {
        let changed = sqlx::query(was).execute(&mut database).await;
        changed.unwrap_or_else(|error| panic!("{was}: {error}"));
    }
    database.close().await.expect("closed");

    let cloud = Cloud::start_on(config, folder).await;
    // A frame that comes now is decoded after everything that the start would have queued.
    decoded(&cloud).await;
    let after = cloud.json(&format!("/api/v1/frames/{id}")).await;
    assert!(after["decoder_id"].is_null(), "{after}");
    for kept in ["state", "quality", "finished_ms", "images"] {
        assert_eq!(after[kept], before[kept], "{kept}");
    }
    assert_eq!(named(&cloud, id).await.0, None);
}
