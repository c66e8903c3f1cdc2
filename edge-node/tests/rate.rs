//! Bits a patch: shed as the spool fills, or pinned.

mod support;

use latent::LatentFrame;
use patchwire_proto::limits::check_frame;
use serde_json::Value;
use support::{
    Cloud, Verdict, answer, backlog, config, eventually, free_addr, metric, noise, post_raw,
};

fn bits(body: &Value) -> u32 {
    let bits = body["bits_per_patch"].as_u64().expect("bits a patch");
    assert_eq!(body["bits"], bits * 25);
    bits as u32
}

#[tokio::test]
async fn rate_is_shed_before_frames() {
    let dir = tempfile::tempdir().expect("dir");
    let addr = free_addr().await;
    let mut config = config(dir.path(), addr);
    config.programs.compress = None;
    config.originals_share = 1.0;
    let node = edge_node::start(config).await.expect("start");
    let mut told = Vec::new();
    loop {
        let request = post_raw(
            &node,
            "camera=c",
            150,
            150,
            noise(150, 150, told.len() as u8),
        );
        let (status, body) = answer(request.send().await.expect("an answer")).await;
        if status == 503 {
            break;
        }
        assert_eq!(status, 202, "{body}");
        told.push(bits(&body));
        assert!(told.len() < 200, "the cap does not hold");
    }
    let mut seen = told.clone();
    seen.dedup();
    assert_eq!(seen, [256, 192, 128, 64], "{told:?}");
    assert_eq!(metric(&node, "edge_node_rate_bits").await, 64.0);
    let (_, status) = support::get(&node, "/v1/status").await;
    assert_eq!(status["bits_per_patch"], 64);

    // Stored frames arrive unchanged, and the rate rises again.
    let cloud = Cloud::start_at(addr, 8, |_, _| Verdict::Accept).await;
    eventually("delivered", async || backlog(&node).await == 0).await;
    let arrived: Vec<_> = cloud
        .frames()
        .iter()
        .map(|frame| {
            let latents: LatentFrame = check_frame(frame).expect("valid").expect("latents");
            latents.bits
        })
        .collect();
    assert_eq!(arrived, told);
    let request = post_raw(&node, "camera=c", 150, 150, noise(150, 150, 0));
    let (_, body) = answer(request.send().await.expect("an answer")).await;
    assert_eq!(bits(&body), 256);
    node.shutdown().await;
}

#[tokio::test]
async fn a_rate_can_be_pinned() {
    let dir = tempfile::tempdir().expect("dir");
    let mut config = config(dir.path(), free_addr().await);
    config.programs.compress = None;
    config.rate.bits = Some(128);
    let node = edge_node::start(config.clone()).await.expect("start");
    let request = post_raw(&node, "camera=c", 150, 150, noise(150, 150, 0));
    let (_, body) = answer(request.send().await.expect("an answer")).await;
    assert_eq!(bits(&body), 128);
    node.shutdown().await;

    config.rate.bits = Some(104);
    let Err(refused) = edge_node::start(config).await.map(|_| ()) else {
        panic!("the decoder does not take 104 bits");
    };
    let sentence = "the shipped compression program cannot be used: rate.bits is 104, allowed are 64, 128, 192, 256 with this program";
    assert_eq!(refused.to_string(), sentence);
}
