//! `edge-node spool`: what an operator sees of the file and does with it.

mod support;

use std::{
    path::Path,
    process::{Command, Output},
};

use latent::LatentFrame;
use media::Limits;
use support::{answer, config, free_addr, plain, post_one, post_raw};

/// Runs the binary on the spool of a folder.
async fn spool(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-node"));
    command
        .arg("spool")
        .args(arguments)
        .arg("--spool")
        .arg(dir.join("spool.sqlite"))
        .env("EDGE_NODE_LOG__FILTER", "off");
    let run = tokio::task::spawn_blocking(move || command.output());
    run.await.expect("a thread").expect("edge-node")
}

/// Its output when it succeeds.
async fn told(dir: &Path, arguments: &[&str]) -> String {
    let output = spool(dir, arguments).await;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

/// Its sentence when it fails with 1.
async fn refused(dir: &Path, arguments: &[&str]) -> String {
    let output = spool(dir, arguments).await;
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
    String::from_utf8(output.stderr).expect("text")
}

#[tokio::test]
async fn frames_are_listed_checked_and_taken_out_beside_a_running_node() {
    let dir = tempfile::tempdir().expect("dir");
    let mut config = config(dir.path(), free_addr().await);
    config.originals_share = 1.0;
    let node = edge_node::start(config).await.expect("start");
    let first = post_one(&node).await;
    let request = post_raw(
        &node,
        "camera=yard&task=classify",
        50,
        40,
        plain(50, 40, [0, 9, 0]),
    );
    let (status, body) = answer(request.send().await.expect("an answer")).await;
    assert_eq!(status, 202, "{body}");

    let list = told(dir.path(), &["ls"]).await;
    let lines: Vec<_> = list.lines().collect();
    assert_eq!(lines.len(), 2, "{list}");
    assert!(lines[0].starts_with(&first), "{list}");
    let what = "gate  32x32  8 bits per patch, with original";
    assert!(lines[0].ends_with(what), "{list}");
    assert!(lines[1].ends_with("yard  50x40  label only"), "{list}");
    assert_eq!(told(dir.path(), &["ls", "--quarantine"]).await, "");
    let verified = told(dir.path(), &["verify"]).await;
    assert_eq!(verified, "2 frames, none damaged\n");

    let out = dir.path().join("out");
    let out = out.to_str().expect("a path");
    let exported = told(dir.path(), &["export", out]).await;
    assert_eq!(exported, format!("2 frames written to {out}\n"));
    let latents = std::fs::read(format!("{out}/{first}.pwl")).expect("latents");
    let latents = LatentFrame::decode(latents.into()).expect("a container");
    assert_eq!((latents.width, latents.height, latents.bits), (32, 32, 8));
    let original = std::fs::read(format!("{out}/{first}.webp")).expect("original");
    let original = media::decode(&original, Some("image/webp"), None, Limits::NONE);
    assert_eq!(original.expect("WebP").rgb, plain(32, 32, [200, 0, 0]));

    let busy = refused(dir.path(), &["drop", "--all"]).await;
    assert!(busy.contains("is in use by another process"), "{busy}");
    node.shutdown().await;
}

#[tokio::test]
async fn frames_are_dropped_by_hand_and_remembered() {
    let dir = tempfile::tempdir().expect("dir");
    let config = config(dir.path(), free_addr().await);
    let node = edge_node::start(config.clone()).await.expect("start");
    let id = post_one(&node).await;
    node.shutdown().await;

    let path = dir.path();
    let none = told(path, &["drop", "--older-than", "1h"]).await;
    assert_eq!(none, "dropped: 0\n");
    assert_eq!(told(path, &["drop", "--all"]).await, "dropped: 1\n");
    assert_eq!(told(path, &["ls"]).await, "");
    let nothing = told(path, &["drop", "--quarantine"]).await;
    assert_eq!(nothing, "dropped: 0\n");

    let node = edge_node::start(config).await.expect("start");
    let (_, state) = support::get(&node, &format!("/v1/frames/{id}")).await;
    assert_eq!(state["state"], "dropped");
    assert_eq!(state["reason"], "an operator dropped it");
    node.shutdown().await;
}

#[tokio::test]
async fn a_damaged_frame_is_named() {
    let dir = tempfile::tempdir().expect("dir");
    let node = edge_node::start(config(dir.path(), free_addr().await))
        .await
        .expect("start");
    let id = post_one(&node).await;
    node.shutdown().await;
    let url = format!("sqlite:{}", dir.path().join("spool.sqlite").display());
    let pool = sqlx::SqlitePool::connect(&url).await.expect("open");
    sqlx::query("UPDATE spool SET payload = zeroblob(LENGTH(payload))")
        .execute(&pool)
        .await
        .expect("damage");
    pool.close().await;

    let output = spool(dir.path(), &["verify"]).await;
    assert_eq!(output.status.code(), Some(1));
    let named = String::from_utf8(output.stdout).expect("text");
    assert_eq!(named, format!("{id}: its row fails the checksum\n"));
    let sentence = String::from_utf8(output.stderr).expect("text");
    assert!(sentence.contains("1 of 1 frames are damaged"), "{sentence}");
    let list = told(dir.path(), &["ls"]).await;
    assert!(list.contains("damaged: its row fails"), "{list}");
    let out = dir.path().join("out");
    let left = refused(dir.path(), &["export", out.to_str().expect("a path")]).await;
    assert!(left.contains("1 damaged frames were left out"), "{left}");
}

#[tokio::test]
async fn a_spool_that_is_not_there_is_not_made() {
    let dir = tempfile::tempdir().expect("dir");
    for command in ["ls", "verify"] {
        let sentence = refused(dir.path(), &[command]).await;
        assert!(sentence.contains("spool.sqlite"), "{sentence}");
    }
    refused(dir.path(), &["drop", "--all"]).await;
    assert!(!dir.path().join("spool.sqlite").exists());
    let unclear = spool(dir.path(), &["drop"]).await;
    assert_eq!(unclear.status.code(), Some(64));
}
