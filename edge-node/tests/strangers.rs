//! Strangers who hold as many connections as they can keep no camera out.

mod support;

use std::time::Duration;

use daemon::{
    boot::open_files,
    tokens::{Kind, append, generate},
};
use testing::storm::{Storm, longest_outage};

/// The first half of a request.
const HALF: &[u8] = b"POST /v1/frames?camera=gate HTTP/1.1\r\nhost: node\r\n";
/// Another address than those have who are known.
const ELSEWHERE: [u8; 4] = [127, 0, 0, 2];
/// Longest that somebody known may be kept out.
const LONGEST: Duration = Duration::from_secs(5);

async fn storm(from: [u8; 4], strangers: usize, lasting: Duration) {
    open_files().expect("open files");
    let dir = tempfile::tempdir().expect("dir");
    let file = dir.path().join("tokens");
    let (token, holder) = generate(Kind::Sender, "gate").expect("token");
    append(&file, &holder).expect("file");
    let mut config = support::config(dir.path(), support::free_addr().await);
    config.auth.tokens = Some(file);
    let node = edge_node::start(config).await.expect("start");
    let url = format!("http://{}/v1/frames?camera=gate", node.http_addr);
    let post = |client: &reqwest::Client| {
        let request = client.post(&url).bearer_auth(&token);
        let request = request.header("content-type", "application/octet-stream");
        let request = request
            .header("x-frame-width", 32)
            .header("x-frame-height", 32);
        request.body(support::plain(32, 32, [200, 0, 0])).send()
    };
    // One camera has a connection already, the other comes anew each time.
    let there = testing::client();
    assert_eq!(post(&there).await.expect("an answer").status(), 202);
    let crowd = Storm::start(node.http_addr, from.into(), strangers, HALF).await;
    let taken = |answer: reqwest::Result<reqwest::Response>| {
        answer.is_ok_and(|answer| answer.status() == 202)
    };
    let (stalled, anew, there) = tokio::join!(
        // Time for which the machine itself stalls, because it lacks processors.
        longest_outage(lasting, async || true),
        longest_outage(lasting, async || taken(post(&testing::client()).await)),
        longest_outage(lasting, async || taken(post(&there).await)),
    );
    eprintln!(
        "{strangers} strangers, who connected {} times: a camera was out for {anew:?}, one that was there already for {there:?} at most, the machine for {stalled:?}",
        crowd.connects()
    );
    for (who, out) in [("camera", anew), ("camera that was there already", there)] {
        assert!(out < LONGEST + stalled, "a {who} was kept out for {out:?}");
    }
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_keep_no_camera_out() {
    // More than there are places, of strangers and in all.
    storm(ELSEWHERE, 600, Duration::from_secs(3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes two minutes and 11,000 open files"]
async fn ten_thousand_strangers_keep_no_camera_out() {
    storm(ELSEWHERE, 10_000, Duration::from_secs(120)).await;
}
