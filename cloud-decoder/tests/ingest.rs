//! The uplink: storing, refusals, and restarts.

mod support;

use std::io::Cursor;

use cloud_decoder::store::{
    objects::{Kind, Objects},
    stored_frame::StoredFrame,
};
use latent::LatentFrame;
use patchwire_proto::v1::{
    AckStatus, EncodedFrame, FrameState, Hello, ListFramesRequest, Original,
    cloud_message::Body as CloudBody, edge_message::Body as EdgeBody,
};
use support::{
    BITS, Cloud, Node, PROGRAM, frame, hello, label, label_only, sealed, with_original,
    write_decoder,
};
use tonic::Code;
use uuid::Uuid;

#[tokio::test]
async fn a_frame_is_decoded_and_measured_against_its_original() {
    let cloud = Cloud::start().await;
    let mut node = cloud.node().await;
    let mut sent = with_original(frame("gate", 200, 180));
    sent.label = Some(label());
    let id = node.accepted(sent).await;

    let record = cloud.until(id, "decoded").await;
    assert_eq!(record["camera"], "gate");
    assert_eq!(record["node"], "node-1");
    assert_eq!(record["latent_bits"], 7 * 6 * 16);
    let bpp = 7.0 * 6.0 * 16.0 / (200.0 * 180.0);
    assert!((record["bpp"].as_f64().expect("bpp") - bpp).abs() < 1e-9);
    assert_eq!(record["label"]["scores"][0]["label"], "ship");
    for metric in [
        "psnr_db",
        "ssim",
        "ms_ssim",
        "seam_ratio",
        "original_seam_ratio",
    ] {
        assert!(record["quality"][metric].is_f64(), "{metric}: {record}");
    }
    let ones = record["latent_ones"].as_f64().expect("latent_ones");
    assert!((0.05..0.95).contains(&ones), "{ones}");

    for (path, media_type, size) in [
        ("reconstruction.png", "image/png", (200, 180)),
        ("original", "image/png", (200, 180)),
        ("thumbnail.jpg", "image/jpeg", (200, 180)),
    ] {
        let response = cloud.http(&format!("/api/v1/frames/{id}/{path}")).await;
        assert_eq!(response.headers()["content-type"], media_type, "{path}");
        let bytes = response.bytes().await.expect("body");
        let picture = image::ImageReader::new(Cursor::new(bytes));
        let picture = picture.with_guessed_format().expect(path);
        let picture = picture.decode().expect(path);
        assert_eq!((picture.width(), picture.height()), size, "{path}");
    }
    cloud.running.shutdown().await;
}

#[tokio::test]
async fn an_original_in_the_cameras_own_encoding_is_measured_by_its_checksum() {
    let cloud = Cloud::start().await;
    let mut node = cloud.node().await;
    // A quarter turn by EXIF: 48x64 pixels, upright.
    let jpeg = include_bytes!("../../media/tests/jpegs/exif6.jpg");
    let upright = media::Jpeg::new(jpeg).expect("a JPEG");
    let ((width, height), rgb) = (upright.size(), upright.decode().expect("pixels"));
    let sent = |crc32c| {
        let mut frame = frame("gate", width, height);
        frame.original = Some(Original {
            media_type: "image/jpeg".to_owned(),
            data: jpeg.to_vec().into(),
            rgb_crc32c: Some(crc32c),
        });
        sealed(frame)
    };
    let same = node.accepted(sent(crc32c::crc32c(&rgb))).await;
    let measured = cloud.until(same, "decoded").await;
    assert!(measured["quality"]["psnr_db"].is_f64(), "{measured}");
    assert_eq!(measured["original_differs"], false);

    let other = node.accepted(sent(!crc32c::crc32c(&rgb))).await;
    let unmeasured = cloud.until(other, "decoded").await;
    assert!(unmeasured["quality"]["psnr_db"].is_null(), "{unmeasured}");
    assert!(unmeasured["quality"]["seam_ratio"].is_f64());
    assert_eq!(unmeasured["original_differs"], true);
    let shown = cloud
        .http(&format!("/api/v1/frames/{other}/original"))
        .await;
    assert_eq!(shown.headers()["content-type"], "image/jpeg");
    let metrics = cloud.http("/metrics").await.text().await.expect("text");
    assert!(
        metrics.contains("cloud_decoder_originals_unmeasured_total 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn without_an_original_only_the_seams_are_measured() {
    let cloud = Cloud::start().await;
    let mut node = cloud.node().await;
    let id = node.accepted(frame("gate", 64, 64)).await;
    let record = cloud.until(id, "decoded").await;
    assert!(record["quality"]["seam_ratio"].is_f64(), "{record}");
    assert!(record["quality"]["psnr_db"].is_null(), "{record}");
    let original = cloud.http(&format!("/api/v1/frames/{id}/original")).await;
    assert_eq!(original.status(), 404);
}

#[tokio::test]
async fn a_frame_cut_to_a_prefix_is_decoded_at_its_lower_rate() {
    let cloud = Cloud::start().await;
    let mut node = cloud.node().await;
    let mut sent = with_original(frame("gate", 64, 64));
    let latents = LatentFrame::decode(sent.latents).expect("container");
    sent.latents = latents.prefix(8).expect("half of its bits").encode();
    let id = node.accepted(sealed(sent)).await;
    let record = cloud.until(id, "decoded").await;
    assert_eq!(record["latent_bits"], 4 * 8);
    assert!(record["quality"]["psnr_db"].is_f64(), "{record}");
}

#[tokio::test]
async fn a_label_alone_is_kept_and_not_decoded() {
    let cloud = Cloud::start().await;
    let mut node = cloud.node().await;
    let id = node.accepted(label_only("gate")).await;
    let record = cloud.json(&format!("/api/v1/frames/{id}")).await;
    assert_eq!(record["state"], "labelled");
    assert_eq!(record["bpp"], 0.0);
    assert_eq!(cloud.objects(), 1, "the frame itself, without pictures");
}

#[tokio::test]
async fn a_resend_is_a_duplicate_and_is_stored_once() {
    let cloud = Cloud::start().await;
    let mut node = cloud.node().await;
    let sent = frame("gate", 64, 64);
    let id = node.accepted(sent.clone()).await;
    let again = node.ack(sent.clone()).await;
    assert_eq!(again, (AckStatus::Duplicate, String::new()));

    cloud.until(id, "decoded").await;
    let mut other = cloud.node().await;
    assert_eq!(other.ack(sent).await.0, AckStatus::Duplicate);
    let list = cloud.json("/api/v1/frames").await;
    assert_eq!(list["frames"].as_array().expect("frames").len(), 1);
    assert_eq!(cloud.json("/api/v1/summary").await["frames"], 1);
}

#[tokio::test]
async fn bad_frames_are_rejected_with_a_sentence_and_leave_nothing() {
    let cloud = Cloud::start_with(|c| c.decode.max_pixels = 1 << 20).await;
    let mut node = cloud.node().await;
    let base = || with_original(frame("gate", 64, 64));
    let changed = |change: &dyn Fn(&mut EncodedFrame)| {
        let mut frame = base();
        change(&mut frame);
        sealed(frame)
    };
    let unsealed = {
        let mut frame = base();
        frame.crc32c ^= 1;
        frame
    };
    let cases = [
        ("checksum", unsealed),
        (
            "not a latent container",
            changed(&|f| f.latents = vec![1; 100].into()),
        ),
        (
            "latent container checksum",
            changed(&|f| {
                let mut bytes = f.latents.to_vec();
                bytes[50] ^= 1;
                f.latents = bytes.into();
            }),
        ),
        (
            "version 7 UUID",
            changed(&|f| f.frame_id = vec![1; 16].into()),
        ),
        (
            "camera_id",
            changed(&|f| f.camera_id = "../../etc".to_owned()),
        ),
        ("the frame is 65x64", changed(&|f| f.width = 65)),
        (
            "neither latents nor a label",
            changed(&|f| f.latents = Default::default()),
        ),
        ("larger than", frame("gate", 1025, 1024)),
        (
            "not a readable image/png",
            changed(&|f| f.original.as_mut().expect("original").data = vec![0; 50].into()),
        ),
        (
            "original is of 64x64 pixels",
            changed(&|f| {
                let other = frame("gate", 32, 64);
                (f.width, f.latents) = (32, other.latents);
            }),
        ),
    ];
    for (part, frame) in cases {
        let (status, reason) = node.ack(frame).await;
        assert_eq!(status, AckStatus::Rejected, "{part}");
        assert!(reason.contains(part), "{reason:?} does not say {part:?}");
    }
    let list = cloud.json("/api/v1/frames").await;
    assert_eq!(list["frames"].as_array().expect("frames").len(), 0);
    assert_eq!(cloud.objects(), 0, "objects of rejected frames");

    // The stream continues.
    node.accepted(base()).await;
}

#[tokio::test]
async fn a_stream_that_does_not_begin_with_a_good_hello_is_ended() {
    let cloud = Cloud::start().await;
    let cases = [
        ("not a hello", EdgeBody::Frame(frame("gate", 64, 64))),
        (
            "node_id",
            EdgeBody::Hello(Hello {
                node_id: "a b".to_owned(),
                ..hello()
            }),
        ),
    ];
    for (part, first) in cases {
        let mut node = Node::open(&cloud).await;
        node.send(first).await;
        let status = node.next().await.expect_err("ended");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(part), "{status}");
    }
    let mut node = cloud.node().await;
    node.send(EdgeBody::Hello(hello())).await;
    let status = node.next().await.expect_err("ended");
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn the_welcome_tells_the_limits_and_a_larger_message_ends_the_stream() {
    let cloud = Cloud::start_with(|c| {
        c.grpc.max_message_bytes = 64 << 10;
        c.grpc.window = 5;
    })
    .await;
    let mut node = cloud.node().await;
    let welcome = node.welcome.clone().expect("welcome");
    assert_eq!((welcome.max_message_bytes, welcome.window), (64 << 10, 5));
    let mut large = frame("gate", 64, 64);
    large.source_format = "x".repeat(65 << 10);
    node.send(EdgeBody::Frame(large)).await;
    let status = node.next().await.expect_err("ended");
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
}

#[tokio::test]
async fn an_old_stream_is_asked_to_come_again_and_what_it_sends_meanwhile_is_acked() {
    let cloud = Cloud::start_with(|c| c.grpc.max_connection_age_s = 1).await;
    let mut node = cloud.node().await;
    let first = node.accepted(frame("gate", 40, 40)).await;
    let drain = node.next().await.expect("stream is up");
    assert!(matches!(drain, Some(CloudBody::Drain(_))), "{drain:?}");
    let second = node.accepted(frame("gate", 40, 40)).await;
    node.hang_up();
    assert_eq!(node.next().await.expect("a clean end"), None);
    let mut again = cloud.node().await;
    let third = again.accepted(frame("gate", 40, 40)).await;
    for id in [first, second, third] {
        cloud.until(id, "decoded").await;
    }
}

#[tokio::test]
async fn a_stream_that_does_not_end_when_asked_to_is_ended() {
    let cloud = Cloud::start_with(|c| {
        c.grpc.max_connection_age_s = 1;
        c.grpc.connection_grace_s = 1;
    })
    .await;
    let mut node = cloud.node().await;
    let drain = node.next().await.expect("stream is up");
    assert!(matches!(drain, Some(CloudBody::Drain(_))), "{drain:?}");
    let status = node.next().await.expect_err("ended");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
}

#[tokio::test]
async fn a_node_over_its_rate_is_held_back_and_loses_nothing() {
    let cloud = Cloud::start_with(|c| {
        c.grpc.node_rate = Some(20.0);
        c.grpc.node_burst = 5;
    })
    .await;
    let mut node = cloud.node().await;
    for _ in 0..20 {
        node.send(EdgeBody::Frame(label_only("gate"))).await;
    }
    for _ in 0..20 {
        assert_eq!(node.next_ack().await.status(), AckStatus::Accepted);
    }
    let metrics = cloud.http("/metrics").await.text().await.expect("text");
    let held = metrics
        .lines()
        .find_map(|line| line.strip_prefix("cloud_decoder_frames_held_back_total "))
        .expect("a count");
    assert!(held.parse::<u32>().expect("a number") > 0, "{held}");
}

#[tokio::test]
async fn a_node_takes_no_more_than_its_share_of_streams() {
    let cloud = Cloud::start().await;
    let mut nodes = Vec::new();
    for _ in 0..32 {
        nodes.push(cloud.node().await);
    }
    let mut one_more = Node::open(&cloud).await;
    one_more.send(EdgeBody::Hello(hello())).await;
    let status = one_more.next().await.expect_err("refused");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    let mut other = Node::open(&cloud).await;
    let name = Hello {
        node_id: "node-2".to_owned(),
        ..hello()
    };
    other.send(EdgeBody::Hello(name)).await;
    assert!(matches!(
        other.next().await,
        Ok(Some(CloudBody::Welcome(_)))
    ));
    // A slot that is given back is free for the next stream.
    drop(nodes.pop());
    let again = async {
        loop {
            let mut node = Node::open(&cloud).await;
            node.send(EdgeBody::Hello(hello())).await;
            if node.next().await.is_ok() {
                break node;
            }
        }
    };
    let again = tokio::time::timeout(support::LIMIT, again).await;
    again
        .expect("a place")
        .accepted(frame("gate", 40, 40))
        .await;
}

#[tokio::test]
async fn many_frames_in_flight_are_each_acked_once() {
    let cloud = Cloud::start_with(|c| c.grpc.window = 8).await;
    let mut node = cloud.node().await;
    let mut sent: Vec<Uuid> = Vec::new();
    for _ in 0..40 {
        let frame = frame("gate", 40, 40);
        sent.push(Uuid::from_slice(&frame.frame_id).expect("id"));
        node.send(EdgeBody::Frame(frame)).await;
    }
    let mut acked = Vec::new();
    for _ in 0..40 {
        let ack = node.next_ack().await;
        assert_eq!(ack.status(), AckStatus::Accepted);
        acked.push(Uuid::from_slice(&ack.frame_id).expect("id"));
    }
    acked.sort();
    sent.sort();
    assert_eq!(acked, sent);
    for id in sent {
        cloud.until(id, "decoded").await;
    }
}

#[tokio::test]
async fn frames_queued_before_a_restart_are_decoded_after_it() {
    let cloud = Cloud::start_with(|c| c.decode.max_attempts = 1).await;
    let mut node = cloud.node().await;
    // Large enough that some are still waiting at the shutdown.
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(node.accepted(frame("gate", 1600, 1200)).await);
    }
    let cloud = cloud.restart(|_| {}).await;
    let queued = &cloud.json("/api/v1/summary").await["queued"];
    assert_ne!(queued, 0, "the restart found nothing to do");
    for &id in &ids {
        cloud.until(id, "decoded").await;
    }
    let summary = cloud.json("/api/v1/summary").await;
    assert_eq!(summary["decoded"], ids.len(), "{summary}");
    assert_eq!(summary["queued"], 0, "{summary}");
}

#[tokio::test]
async fn a_frame_that_cannot_be_decoded_fails_with_the_reason_after_its_attempts() {
    let cloud = Cloud::start_with(|c| c.decode.max_attempts = 2).await;
    let mut node = cloud.node().await;
    let mut broken = with_original(frame("gate", 64, 64));
    let original = broken.original.as_mut().expect("original");
    // The header is whole, the pixels are not.
    original.data = original.data.slice(..original.data.len() / 2);
    let id = node.accepted(sealed(broken)).await;
    let record = cloud.until(id, "failed").await;
    let failure = record["failure"].as_str().expect("failure");
    assert!(failure.contains("original does not decode"), "{failure}");
    let picture = format!("/api/v1/frames/{id}/reconstruction.png");
    assert_eq!(cloud.http(&picture).await.status(), 404);
    // Other frames are not affected.
    let other = node.accepted(frame("gate", 64, 64)).await;
    cloud.until(other, "decoded").await;

    // Failed frames are found by their state.
    let failed = cloud.json("/api/v1/frames?state=failed&camera=gate").await;
    let ids: Vec<_> = failed["frames"]
        .as_array()
        .expect("frames")
        .iter()
        .collect();
    assert_eq!(ids.len(), 1, "{failed}");
    assert_eq!(ids[0]["id"], id.to_string());
    assert_eq!(ids[0]["failure"], failure);
    let request = ListFramesRequest {
        state: FrameState::Failed.into(),
        ..ListFramesRequest::default()
    };
    let failed = cloud.catalogue().await.list_frames(request).await;
    let failed = failed.expect("page").into_inner().frames;
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0].failure, failure);
}

/// A frame of 64x64 pixels by another program, or at another rate.
fn foreign(program: [u8; 32], bits: u32) -> EncodedFrame {
    let mut sent = frame("gate", 64, 64);
    let latents = LatentFrame {
        bits,
        width: 64,
        height: 64,
        program,
        payload: vec![0x5a; 4 * bits as usize / 8].into(),
    };
    sent.latents = latents.encode();
    sealed(sent)
}

#[tokio::test]
async fn frames_without_a_decoder_are_parked_until_there_is_one() {
    let cloud = Cloud::start().await;
    let mut node = cloud.node().await;
    let (later, rate) = (foreign([8; 32], BITS), foreign(PROGRAM, 24));
    for (sent, reason) in [
        (
            &later,
            format!(
                "no decoder for program {} at 16 bits a patch is installed",
                "08".repeat(32)
            ),
        ),
        (
            &rate,
            format!(
                "no decoder for program {} at 24 bits a patch is installed",
                "07".repeat(32)
            ),
        ),
    ] {
        let id = Uuid::from_slice(&sent.frame_id).expect("id");
        assert_eq!(
            node.ack(sent.clone()).await,
            (AckStatus::Accepted, reason.clone())
        );
        let record = cloud.until(id, "failed").await;
        assert_eq!(record["failure"], reason);
        assert_eq!(node.ack(sent.clone()).await.0, AckStatus::Duplicate);
    }
    // Other frames are not affected, nor is the stream.
    let id = node.accepted(frame("gate", 64, 64)).await;
    cloud.until(id, "decoded").await;

    let decoders = cloud.folder.path().join("decoders");
    std::fs::create_dir(&decoders).expect("folder");
    write_decoder(&decoders.join("later.safetensors"), [8; 32]);
    std::fs::write(decoders.join("README"), "not a decoder").expect("file");
    let cloud = cloud.restart(|c| c.decoders = Some(decoders.clone())).await;
    cloud
        .until(Uuid::from_slice(&later.frame_id).expect("id"), "decoded")
        .await;
    let summary = cloud.json("/api/v1/summary").await;
    assert_eq!(
        summary["decoders"].as_array().map(Vec::len),
        Some(2),
        "{summary}"
    );
    assert_eq!(
        (&summary["decoded"], &summary["failed"]),
        (&2.into(), &1.into())
    );
    let mut node = cloud.node().await;
    let id = node.accepted(foreign([8; 32], BITS)).await;
    cloud.until(id, "decoded").await;

    write_decoder(&decoders.join("again.safetensors"), PROGRAM);
    cloud.running.shutdown().await;
    let Err(error) = cloud_decoder::start(cloud.config.clone()).await else {
        panic!("two decoders for one program");
    };
    assert!(
        error.to_string().contains("second one for program 0707"),
        "{error:#}"
    );
}

#[tokio::test]
async fn a_disk_that_fails_for_a_while_costs_no_attempt() {
    let cloud = Cloud::start_with(|c| c.decode.max_attempts = 1).await;
    let mut node = cloud.node().await;
    // A file where the folder of the pictures has to be.
    let pictures = cloud.config.data_dir.join("objects/reconstructions");
    std::fs::write(&pictures, "").expect("file");
    let id = node.accepted(frame("gate", 64, 64)).await;
    let failed_attempts = async || {
        let metrics = cloud.http("/metrics").await.text().await.expect("text");
        let line = metrics
            .lines()
            .find(|line| line.starts_with("cloud_decoder_decode_attempts_failed_total"));
        let count = line.and_then(|line| line.rsplit(' ').next());
        count.expect("the metric").parse::<f64>().expect("a number")
    };
    testing::eventually("two attempts failed", support::LIMIT, async || {
        (failed_attempts().await >= 2.0).then_some(())
    })
    .await;
    std::fs::remove_file(&pictures).expect("file");
    cloud.until(id, "decoded").await;
}

#[tokio::test]
async fn an_object_left_by_a_crash_is_overwritten_by_the_resend() {
    let cloud = Cloud::start().await;
    let sent = frame("gate", 64, 64);
    let id = Uuid::from_slice(&sent.frame_id).expect("id");
    // The worst remains of a crash between object and row.
    let objects = Objects::local(&cloud.config.data_dir.join("objects")).expect("objects");
    let torn = objects.put(Kind::Latents, id, vec![0; 10].into()).await;
    torn.expect("put");
    let mut node = cloud.node().await;
    node.accepted(sent.clone()).await;
    let kept = objects.get(Kind::Latents, id).await.expect("get");
    let kept = StoredFrame::decode(kept.expect("there")).expect("whole");
    assert_eq!(kept.latents, sent.latents);
    cloud.until(id, "decoded").await;
}

#[tokio::test]
async fn of_two_frames_with_one_id_the_first_is_kept_whole_and_the_other_refused() {
    let cloud = Cloud::start().await;
    let mut node = cloud.node().await;
    let first = with_original(frame("gate", 64, 64));
    let id = Uuid::from_slice(&first.frame_id).expect("id");
    let other = EncodedFrame {
        frame_id: first.frame_id.clone(),
        ..with_original(frame("door", 96, 64))
    };
    let other = sealed(other);
    node.accepted(first.clone()).await;
    let reason = "another frame with the same id is kept".to_owned();
    let refused = (AckStatus::Rejected, reason);
    assert_eq!(node.ack(other.clone()).await, refused);
    let record = cloud.until(id, "decoded").await;
    assert_eq!(record["camera"], "gate");
    let original = cloud.http(&format!("/api/v1/frames/{id}/original")).await;
    let sent = first.original.as_ref().expect("original");
    assert!(
        original.bytes().await.expect("body") == sent.data,
        "its original is its own"
    );

    // Streams that race with both frames.
    for _ in 0..8 {
        let mut first = with_original(frame("gate", 64, 64));
        let mut other = with_original(frame("door", 96, 64));
        other.frame_id = first.frame_id.clone();
        (first, other) = (sealed(first), sealed(other));
        let id = Uuid::from_slice(&first.frame_id).expect("id");
        let mut rival = cloud.node().await;
        let (own, theirs) = tokio::join!(node.ack(first.clone()), rival.ack(other.clone()));
        let kept = match (own.0, theirs.0) {
            (AckStatus::Accepted, AckStatus::Rejected) => first,
            (AckStatus::Rejected, AckStatus::Accepted) => other,
            answers => panic!("{answers:?}"),
        };
        let record = cloud.until(id, "decoded").await;
        assert_eq!(record["camera"], kept.camera_id);
        let original = cloud.http(&format!("/api/v1/frames/{id}/original")).await;
        let sent = kept.original.as_ref().expect("original");
        assert!(
            original.bytes().await.expect("body") == sent.data,
            "contents were mixed"
        );
    }
}

#[tokio::test]
async fn a_data_folder_serves_one_process_at_a_time() {
    let cloud = Cloud::start().await;
    let Err(error) = cloud_decoder::start(cloud.config.clone()).await else {
        panic!("a second service opened the same folder");
    };
    assert!(error.to_string().contains("in use"), "{error:#}");
}
