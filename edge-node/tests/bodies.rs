//! Bodies on their way: slow ones hold up nobody, and what all of them take is bounded.

mod support;

use std::{io, time::Duration};

use reqwest::{Body, StatusCode};
use support::{answer, config, free_addr, metric, plain, post, post_one, post_raw};
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};
use tokio_stream::wrappers::ReceiverStream;

/// A body that comes as it is sent here.
fn body() -> (mpsc::Sender<io::Result<Vec<u8>>>, Body) {
    let (send, chunks) = mpsc::channel(1);
    (send, Body::wrap_stream(ReceiverStream::new(chunks)))
}

/// Posts a byte ten times a second, and gives the answer.
fn trickle(node: &edge_node::Running, camera: &str) -> JoinHandle<(StatusCode, serde_json::Value)> {
    let (send, body) = body();
    let request = post(node, &format!("camera={camera}"));
    let request = request.header("content-type", "image/png").body(body);
    let byte = async move {
        while send.send(Ok(vec![0])).await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::spawn(async move {
        let sending = tokio::spawn(byte);
        let answered = answer(request.send().await.expect("an answer")).await;
        sending.abort();
        (
            StatusCode::from_u16(answered.0).expect("a status"),
            answered.1,
        )
    })
}

#[tokio::test]
async fn slow_senders_hold_up_no_other_camera_and_are_given_up() {
    let dir = tempfile::tempdir().expect("dir");
    let config = config(dir.path(), free_addr().await);
    let slow = config.http.max_concurrent;
    let node = edge_node::start(config).await.expect("start");
    let senders: Vec<_> = (0..slow)
        .map(|number| trickle(&node, &format!("slow-{number}")))
        .collect();
    support::eventually("all of them to have begun", async || {
        metric(&node, "edge_node_bodies_in_flight").await == slow as f64
    })
    .await;
    for _ in 0..3 {
        post_one(&node).await;
    }
    assert_eq!(metric(&node, "edge_node_frames_in_flight").await, 0.0);
    for sender in senders {
        let (status, told) = sender.await.expect("task");
        assert_eq!(status, 408, "{told}");
        let error = told["error"].as_str().expect("a sentence");
        assert!(error.contains("more slowly than"), "{error}");
    }
    node.shutdown().await;
}

#[tokio::test]
async fn bytes_on_their_way_are_bounded_for_each_sender() {
    let dir = tempfile::tempdir().expect("dir");
    let mut config = config(dir.path(), free_addr().await);
    config.http.max_body_bytes = 64 << 10;
    let node = edge_node::start(config).await.expect("start");
    // Not all of it, so that it stays on its way.
    let (send, held) = body();
    let request = post(&node, "camera=a").header("content-type", "image/png");
    let first = tokio::spawn(request.body(held).send());
    send.send(Ok(vec![0; 60 << 10])).await.expect("room");
    let frame = || post_raw(&node, "camera=b", 64, 64, plain(64, 64, [0; 3])).send();
    support::eventually(
        "a sender is told that its bodies are too many",
        async || {
            let refused = frame().await.expect("an answer");
            refused.status() == 429 && refused.headers().contains_key("retry-after")
        },
    )
    .await;
    drop(send);
    assert_eq!(first.await.expect("task").expect("an answer").status(), 415);
    assert_eq!(frame().await.expect("an answer").status(), 202);
    node.shutdown().await;
}
