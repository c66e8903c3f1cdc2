//! Latents travel coded to a cloud that takes them so, and as containers to any other.

mod support;

use std::{collections::HashMap, fs, sync::Arc};

use latent::{prior::Prior, stream::StreamDecoder};
use patchwire_proto::{
    limits::check_frame,
    v1::{EncodedFrame, Welcome},
};
use support::{
    Cloud, Verdict, answer, backlog, bright, config, eventually, get, metric, noise, post_raw,
};

const TABLE: u64 = 1 << 20;

fn shipped() -> Prior {
    Prior::from_bytes(patchwire_models::PRIOR).expect("the shipped prior")
}

/// A welcome that offers the codec for a prior.
fn offer(prior: &Prior) -> Welcome {
    Welcome {
        codec_versions: vec![latent::codec::VERSION.into()],
        prior_ids: vec![prior.id().0.to_vec().into()],
        reference_bytes: TABLE,
        ..Welcome::default()
    }
}

/// The frames as the cloud has them after decoding; those of each stream by themselves.
fn decoded(cloud: &Cloud, prior: &Prior) -> Vec<EncodedFrame> {
    let mut streams = HashMap::new();
    let frames = cloud.numbered_frames().into_iter();
    let frames = frames.map(|(number, mut frame)| {
        if frame.coded_latents.is_empty() {
            return frame;
        }
        assert!(frame.latents.is_empty(), "both kinds of latents");
        let stream = streams
            .entry(number)
            .or_insert_with(|| StreamDecoder::new([Arc::new(prior.clone())], TABLE as usize));
        let coded = std::mem::take(&mut frame.coded_latents);
        let latents = stream.decode(&frame.camera_id, &coded, || true);
        frame.latents = latents.expect("coded latents").encode();
        frame
    });
    frames.collect()
}

/// Posts a frame of noise and returns its id.
async fn post(node: &edge_node::Running, camera: &str, size: u32, seed: u8) -> String {
    let query = format!("camera={camera}");
    let request = post_raw(node, &query, size, size, noise(size, size, seed));
    let (status, body) = answer(request.send().await.expect("an answer")).await;
    assert_eq!(status, 202, "{body}");
    body["frame_id"].as_str().expect("an id").to_owned()
}

fn ids(frames: &[EncodedFrame]) -> Vec<String> {
    let id = |frame: &EncodedFrame| uuid::Uuid::from_slice(&frame.frame_id).expect("an id");
    frames.iter().map(|frame| id(frame).to_string()).collect()
}

#[tokio::test]
async fn coded_latents_decode_to_those_of_the_frame() {
    let dir = tempfile::tempdir().expect("dir");
    let cloud = Cloud::start_offering(offer(&shipped()), |_, _| Verdict::Accept).await;
    let mut config = config(dir.path(), cloud.addr);
    config.programs.compress = None;
    let node = edge_node::start(config).await.expect("start");
    let mut posted = Vec::new();
    for seed in 0..3 {
        for (camera, size) in [("gate", 64), ("yard", 64), ("gate", 100)] {
            posted.push(post(&node, camera, size, seed).await);
        }
    }
    eventually("an empty spool", async || backlog(&node).await == 0).await;
    let sent = cloud.frames();
    assert!(sent.iter().all(|frame| !frame.coded_latents.is_empty()));
    let decoded = decoded(&cloud, &shipped());
    assert_eq!(ids(&decoded), posted);
    for frame in &decoded {
        // Its checksum is over the container.
        let latents = check_frame(frame).expect("a valid frame");
        assert_eq!(latents.expect("latents").bits, 256);
    }
    let total = |bytes: fn(&EncodedFrame) -> usize, frames: &[EncodedFrame]| {
        frames.iter().map(bytes).sum::<usize>() as f64
    };
    for (kind, bytes) in [
        ("latent", total(|frame| frame.coded_latents.len(), &sent)),
        ("container", total(|frame| frame.latents.len(), &decoded)),
    ] {
        let mut counted = 0.0;
        for travelled in ["plain", "intra", "reference"] {
            let series =
                format!("edge_node_uplink_sent_{kind}_bytes_total{{travelled=\"{travelled}\"}}");
            counted += metric(&node, &series).await;
        }
        assert_eq!(counted, bytes, "{kind}");
    }
    node.shutdown().await;
}

#[tokio::test]
async fn latents_travel_as_containers_where_the_codec_is_not_offered_or_off() {
    let prior = shipped();
    for (name, codec, offer) in [
        ("a cloud of before", true, Welcome::default()),
        ("off", false, offer(&prior)),
        (
            "another version",
            true,
            Welcome {
                codec_versions: vec![99],
                ..offer(&prior)
            },
        ),
        (
            "another prior",
            true,
            Welcome {
                prior_ids: vec![vec![1; 8].into()],
                ..offer(&prior)
            },
        ),
    ] {
        let dir = tempfile::tempdir().expect("dir");
        let cloud = Cloud::start_offering(offer, |_, _| Verdict::Accept).await;
        let mut config = config(dir.path(), cloud.addr);
        config.programs.compress = None;
        config.uplink.codec = codec;
        let node = edge_node::start(config).await.expect("start");
        post(&node, "gate", 64, 1).await;
        eventually(name, async || backlog(&node).await == 0).await;
        let frame = cloud.frames().remove(0);
        assert!(frame.coded_latents.is_empty(), "{name}");
        check_frame(&frame).expect(name).expect("latents");
        node.shutdown().await;
    }
}

#[tokio::test]
async fn a_new_stream_refers_to_nothing_of_the_one_before() {
    let dir = tempfile::tempdir().expect("dir");
    let judge = |before, _: &EncodedFrame| match before {
        3 | 6 => Verdict::HangUp,
        4 => Verdict::Drain,
        _ => Verdict::Accept,
    };
    let cloud = Cloud::start_offering(offer(&shipped()), judge).await;
    let mut config = config(dir.path(), cloud.addr);
    config.programs.compress = None;
    let node = edge_node::start(config).await.expect("start");
    for seed in 0..9 {
        post(&node, "gate", 64, seed).await;
    }
    eventually("an empty spool", async || backlog(&node).await == 0).await;
    let streams = cloud.numbered_frames();
    assert!(streams.last().expect("frames").0 >= 3, "{streams:?}");
    for frame in decoded(&cloud, &shipped()) {
        check_frame(&frame)
            .expect("a valid frame")
            .expect("latents");
    }
    node.shutdown().await;
}

#[tokio::test]
async fn a_frame_that_the_cloud_cannot_decode_holds_up_no_other() {
    let dir = tempfile::tempdir().expect("dir");
    let judge = |_, frame: &EncodedFrame| match frame.coded_latents.is_empty() {
        true => Verdict::Accept,
        false => Verdict::Refuse,
    };
    let cloud = Cloud::start_offering(offer(&shipped()), judge).await;
    let mut config = config(dir.path(), cloud.addr);
    config.programs.compress = None;
    let node = edge_node::start(config).await.expect("start");
    for seed in 0..3 {
        post(&node, "gate", 64, seed).await;
    }
    eventually("an empty spool", async || backlog(&node).await == 0).await;
    node.shutdown().await;
}

#[tokio::test]
async fn a_program_of_a_file_has_its_prior_beside_it() {
    let dir = tempfile::tempdir().expect("dir");
    let program = nqe::Program::from_bytes(&bright("green", [0, 1, 0])).expect("a program");
    // The shipped prior as that of this program.
    let mut file = patchwire_models::PRIOR.to_vec();
    file[4..36].copy_from_slice(program.id().as_bytes());
    let prior = Prior::from_bytes(&file).expect("a prior");
    let cloud = Cloud::start_offering(offer(&prior), |_, _| Verdict::Accept).await;
    let mut config = config(dir.path(), cloud.addr);
    let compress = dir.path().join("green.nqe");
    fs::write(&compress, program.to_bytes()).expect("a program");
    config.programs.compress = Some(compress.clone());
    let beside = compress.with_extension("pwp");

    for (wrong, said) in [
        (patchwire_models::PRIOR, "is of another program"),
        (b"PWP0", "cannot be loaded"),
    ] {
        fs::write(&beside, wrong).expect("a prior");
        let refused = edge_node::start(config.clone()).await.err();
        let refused = format!("{:#}", refused.expect("no start"));
        let named = refused.contains("green.pwp");
        assert!(named && refused.contains(said), "{refused}");
    }

    fs::remove_file(&beside).expect("no prior");
    let node = edge_node::start(config).await.expect("start");
    post(&node, "gate", 64, 1).await;
    eventually("an empty spool", async || backlog(&node).await == 0).await;
    // It is found while the node runs, which then opens another stream.
    fs::write(beside.with_extension("fresh"), &file).expect("a prior");
    fs::rename(beside.with_extension("fresh"), &beside).expect("a prior");
    eventually("another stream", async || cloud.hellos().len() > 1).await;
    post(&node, "gate", 64, 2).await;
    eventually("an empty spool", async || backlog(&node).await == 0).await;
    let coded = cloud.frames().into_iter();
    let coded: Vec<_> = coded.map(|f| !f.coded_latents.is_empty()).collect();
    assert_eq!(coded, [false, true]);
    for frame in decoded(&cloud, &prior) {
        check_frame(&frame)
            .expect("a valid frame")
            .expect("latents");
    }
    node.shutdown().await;
}

#[tokio::test]
async fn a_welcome_beyond_its_bounds_is_refused() {
    let dir = tempfile::tempdir().expect("dir");
    let huge = Welcome {
        reference_bytes: 1 << 40,
        ..offer(&shipped())
    };
    let cloud = Cloud::start_offering(huge, |_, _| Verdict::Accept).await;
    let node = edge_node::start(config(dir.path(), cloud.addr))
        .await
        .expect("start");
    eventually("a refusal", async || {
        let (_, status) = get(&node, "/v1/status").await;
        let error = status["uplink"]["last_error"].as_str().unwrap_or_default();
        error.contains("reference_bytes is 1099511627776")
    })
    .await;
    node.shutdown().await;
}
