//! Frames reach the cloud once, whatever the cloud does.

mod support;

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
};

use latent::LatentFrame;
use patchwire_proto::limits::{check_frame, check_hello};
use support::{
    Cloud, Limits, NO_LIMITS, Verdict, backlog, config, eventually, free_addr, metric, plain,
    post_one, post_raw, state,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use uuid::Uuid;

fn ids(cloud: &Cloud) -> Vec<String> {
    let id = |bytes: &[u8]| Uuid::from_slice(bytes).expect("a UUID").to_string();
    cloud
        .frames()
        .iter()
        .map(|frame| id(&frame.frame_id))
        .collect()
}

#[tokio::test]
async fn an_accepted_frame_is_delivered_whole() {
    let dir = tempfile::tempdir().expect("dir");
    let cloud = Cloud::start(|_, _| Verdict::Accept).await;
    let mut config = config(dir.path(), cloud.addr);
    config.originals_share = 1.0;
    let node = edge_node::start(config).await.expect("start");
    // Left half bright red, right half black, and neither side a multiple of 32.
    let row = [[200, 10, 10].repeat(32), [0, 0, 0].repeat(13)].concat();
    let request = post_raw(&node, "camera=gate-3&task=both", 45, 20, row.repeat(20));
    let (status, body) = support::answer(request.send().await.expect("an answer")).await;
    assert_eq!(status, 202, "{body}");
    assert_eq!((&body["width"], &body["height"]), (&45.into(), &20.into()));
    assert_eq!((&body["patches"], &body["bits"]), (&2.into(), &16.into()));
    assert_eq!(body["bits_per_pixel"], 16.0 / 900.0);
    assert_eq!(body["label"], "red");
    assert_eq!(body["original_attached"], true);
    let id = body["frame_id"].as_str().expect("an id");
    eventually("delivered", async || state(&node, id).await == "delivered").await;

    let frame = cloud.frames().remove(0);
    let latents: LatentFrame = check_frame(&frame)
        .expect("a valid frame")
        .expect("latents");
    assert_eq!(&latents.payload[..], [0xff, 0x00]);
    assert_eq!(
        hex::encode(latents.program),
        body["program"].as_str().expect("an id")
    );
    assert_eq!(frame.camera_id, "gate-3");
    assert_eq!(frame.source_format, "raw");
    assert_eq!(frame.source_bytes, 45 * 20 * 3);
    assert_eq!(frame.label.expect("a label").scores[0].label, "red");
    let original = frame.original.expect("an original");
    let original = media::decode(
        &original.data,
        Some(&original.media_type),
        None,
        media::Limits::NONE,
    );
    assert_eq!(original.expect("an image").rgb, row.repeat(20));
    let hello = cloud.hellos().remove(0);
    check_hello(&hello).expect("a valid hello");
    assert_eq!(
        (hello.node_id.as_str(), hello.program_ids.len()),
        ("edge-1", 2)
    );
    let told: Vec<_> = hello
        .programs
        .iter()
        .map(|p| (&*p.name, p.classifies))
        .collect();
    assert_eq!(told, [("bright-red", false), ("dominant-colour", true)]);
    let ids: Vec<_> = hello.programs.iter().map(|p| p.id.clone()).collect();
    assert_eq!(ids, hello.program_ids);
    assert_eq!(hello.programs[0].latent_bits, 8);
    assert!(hello.programs[0].macs_per_patch >= 8 * 32 * 32);
    assert_eq!(backlog(&node).await, 0);
    node.shutdown().await;
}

#[tokio::test]
async fn frames_wait_for_a_cloud_that_comes_later() {
    let dir = tempfile::tempdir().expect("dir");
    let addr = support::free_addr().await;
    let node = edge_node::start(config(dir.path(), addr))
        .await
        .expect("start");
    let mut posted = Vec::new();
    for _ in 0..5 {
        posted.push(post_one(&node).await);
    }
    eventually("a failed connect", async || {
        metric(&node, "edge_node_uplink_connects_total").await > 1.0
    })
    .await;
    assert_eq!(backlog(&node).await, 5);
    assert_eq!(state(&node, &posted[0]).await, "spooled");
    let cloud = Cloud::start_at(addr, 8, |_, _| Verdict::Accept).await;
    eventually("an empty spool", async || backlog(&node).await == 0).await;
    assert_eq!(ids(&cloud), posted, "in order, each once");
    node.shutdown().await;
}

#[tokio::test]
async fn a_drained_stream_is_followed_by_another_without_a_gap_a_double_or_a_failure() {
    let dir = tempfile::tempdir().expect("dir");
    let addr = support::free_addr().await;
    let node = edge_node::start(config(dir.path(), addr))
        .await
        .expect("start");
    let mut posted = Vec::new();
    for _ in 0..30 {
        posted.push(post_one(&node).await);
    }
    // Every seventh frame finds more of the window on its way behind it.
    let cloud = Cloud::start_at(addr, 8, |before, _| match before % 7 {
        3 => Verdict::Drain,
        _ => Verdict::Accept,
    })
    .await;
    eventually("an empty spool", async || backlog(&node).await == 0).await;
    assert_eq!(ids(&cloud), posted, "in order, each once");
    let drained = metric(&node, "edge_node_uplink_drained_total").await;
    assert!((2.0..=4.0).contains(&drained), "{drained} streams");
    eventually("the next stream stands", async || {
        metric(&node, "edge_node_uplink_connected").await == 1.0
    })
    .await;
    assert!(cloud.hellos().len() as f64 >= drained);
    let (_, status) = support::get(&node, "/v1/status").await;
    assert!(status["uplink"]["last_error"].is_null(), "{status}");
    node.shutdown().await;
}

#[tokio::test]
async fn a_stream_that_breaks_in_the_window_loses_nothing() {
    let dir = tempfile::tempdir().expect("dir");
    // Three acks, then three frames without one, then the stream ends; twice.
    let cloud = Cloud::start(|before, _| match before {
        3..6 | 9..12 => Verdict::Ignore,
        6 | 12 => Verdict::HangUp,
        _ => Verdict::Accept,
    })
    .await;
    let node = edge_node::start(config(dir.path(), cloud.addr))
        .await
        .expect("start");
    let mut posted = Vec::new();
    for _ in 0..20 {
        posted.push(post_one(&node).await);
    }
    eventually("an empty spool", async || backlog(&node).await == 0).await;
    let seen = ids(&cloud);
    let mut first: HashMap<_, usize> = HashMap::new();
    for (place, id) in seen.iter().enumerate() {
        first.entry(id).or_insert(place);
    }
    assert_eq!(
        seen.iter().collect::<BTreeSet<_>>(),
        posted.iter().collect::<BTreeSet<_>>()
    );
    assert!(
        posted.is_sorted_by_key(|id| first[id]),
        "first seen in order"
    );
    assert!(seen.len() > 20, "the unacknowledged frames were sent again");
    assert_eq!(cloud.hellos().len(), 3, "one stream after another");
    node.shutdown().await;
}

#[tokio::test]
async fn the_window_bounds_what_is_unacknowledged() {
    let dir = tempfile::tempdir().expect("dir");
    let cloud = Cloud::start_at(([127, 0, 0, 1], 0).into(), 3, |_, _| Verdict::Ignore).await;
    let node = edge_node::start(config(dir.path(), cloud.addr))
        .await
        .expect("start");
    for _ in 0..6 {
        post_one(&node).await;
    }
    eventually("a full window", async || cloud.frames().len() == 3).await;
    assert_eq!(
        metric(&node, "edge_node_uplink_frames_sent_total").await,
        3.0
    );
    assert_eq!(backlog(&node).await, 6, "nothing leaves without an ack");
    node.shutdown().await;
}

#[tokio::test]
async fn duplicates_and_rejections_are_told_and_leave_the_spool() {
    let dir = tempfile::tempdir().expect("dir");
    let cloud = Cloud::start(|before, _| match before {
        0 => Verdict::Reject("the cloud does not know this program"),
        _ => Verdict::Duplicate,
    })
    .await;
    let config = config(dir.path(), cloud.addr);
    let spool = config.spool.path.clone();
    let node = edge_node::start(config).await.expect("start");
    let rejected = post_one(&node).await;
    let duplicate = post_one(&node).await;
    eventually("an empty spool", async || backlog(&node).await == 0).await;
    assert_eq!(state(&node, &duplicate).await, "duplicate");
    let (_, body) = support::get(&node, &format!("/v1/frames/{rejected}")).await;
    assert_eq!(body["state"], "rejected");
    assert_eq!(body["reason"], "the cloud does not know this program");
    assert_eq!(
        metric(&node, "edge_node_uplink_acks_total{status=\"rejected\"}").await,
        1.0
    );
    node.shutdown().await;
    let pool = sqlx::SqlitePool::connect(&format!("sqlite:{}", spool.display()))
        .await
        .expect("open");
    let kept: (Vec<u8>, String) = sqlx::query_as("SELECT frame_id, reason FROM quarantine")
        .fetch_one(&pool)
        .await
        .expect("a row");
    assert_eq!(
        Uuid::from_slice(&kept.0).expect("a UUID").to_string(),
        rejected
    );
    assert_eq!(kept.1, "the cloud does not know this program");
}

#[tokio::test]
async fn frames_that_do_not_fit_the_cloud_wait_for_one_that_takes_them() {
    for (limits, why) in [
        (
            Limits {
                max_pixels: 4096,
                ..NO_LIMITS
            },
            "it has 262144 pixels, more than the 4096 that the cloud takes",
        ),
        (
            Limits {
                max_message_bytes: 300,
                ..NO_LIMITS
            },
            "is larger than the 300 allowed",
        ),
    ] {
        let dir = tempfile::tempdir().expect("dir");
        let small = Cloud::start_for(limits).await;
        let mut config = config(dir.path(), small.addr);
        let node = edge_node::start(config.clone()).await.expect("start");
        let large = support::post_raw(&node, "camera=gate", 512, 512, plain(512, 512, [9; 3]));
        let (status, large) = support::answer(large.send().await.expect("an answer")).await;
        assert_eq!(status, 202, "{large}");
        let fits = post_one(&node).await;
        eventually("the frame that fits to arrive", async || {
            state(&node, &fits).await == "delivered"
        })
        .await;
        let large = large["frame_id"].as_str().expect("an id");
        assert_eq!(state(&node, large).await, "spooled", "{why}");
        assert_eq!(ids(&small), [fits]);
        let (_, told) = support::get(&node, "/v1/status").await;
        assert_eq!(told["uplink"]["held_frames"], 1, "{told}");
        let reason = told["uplink"]["held_reason"].as_str().expect("a reason");
        assert!(reason.ends_with(why), "{reason}");
        assert_eq!(metric(&node, "edge_node_spool_held_frames").await, 1.0);
        eventually("the cloud to be told", async || {
            let last = small.statuses().pop();
            last.is_some_and(|status| status.held_frames == 1)
        })
        .await;
        node.shutdown().await;
        let enough = Cloud::start_for(NO_LIMITS).await;
        config.uplink.endpoint = format!("http://{}", enough.addr);
        let node = edge_node::start(config).await.expect("start again");
        eventually("the large frame to arrive", async || {
            backlog(&node).await == 0
        })
        .await;
        assert_eq!(ids(&enough), [large]);
        assert_eq!(metric(&node, "edge_node_spool_held_frames").await, 0.0);
        node.shutdown().await;
    }
}

#[tokio::test]
async fn a_restart_keeps_the_backlog() {
    let dir = tempfile::tempdir().expect("dir");
    let addr = support::free_addr().await;
    let node = edge_node::start(config(dir.path(), addr))
        .await
        .expect("start");
    let mut posted = vec![post_one(&node).await, post_one(&node).await];
    node.shutdown().await;
    let node = edge_node::start(config(dir.path(), addr))
        .await
        .expect("start again");
    assert_eq!(backlog(&node).await, 2);
    posted.push(post_one(&node).await);
    let cloud = Cloud::start_at(addr, 8, |_, _| Verdict::Accept).await;
    eventually("an empty spool", async || backlog(&node).await == 0).await;
    assert_eq!(ids(&cloud), posted);
    node.shutdown().await;
}

/// A JPEG of a camera, turned by EXIF, with a comment, and with bytes behind its end.
fn camera_jpeg() -> Vec<u8> {
    let mut jpeg = include_bytes!("../../media/tests/jpegs/exif6.jpg").to_vec();
    let comment = [b"\xff\xfe\0\x0b".as_slice(), b"somewhere"].concat();
    jpeg.splice(2..2, comment);
    jpeg.extend_from_slice(b"52.5N 13.4E");
    jpeg
}

fn post_jpeg(node: &edge_node::Running, jpeg: Vec<u8>) -> reqwest::RequestBuilder {
    testing::client()
        .post(format!("http://{}/v1/frames?camera=gate", node.http_addr))
        .header("content-type", "image/jpeg")
        .body(jpeg)
}

/// The frame that a cloud gets of `camera_jpeg`, and its pixels.
async fn delivered_jpeg(cloud: &Cloud) -> (patchwire_proto::v1::EncodedFrame, Vec<u8>) {
    let dir = tempfile::tempdir().expect("dir");
    let mut config = config(dir.path(), cloud.addr);
    config.originals_share = 1.0;
    let node = edge_node::start(config).await.expect("start");
    let jpeg = camera_jpeg();
    let decoded = media::decode(&jpeg, Some("image/jpeg"), None, media::Limits::NONE);
    let (status, body) =
        support::answer(post_jpeg(&node, jpeg).send().await.expect("an answer")).await;
    assert_eq!(status, 202, "{body}");
    eventually("delivered", async || !cloud.frames().is_empty()).await;
    node.shutdown().await;
    (cloud.frames().remove(0), decoded.expect("a picture").rgb)
}

#[tokio::test]
async fn a_jpeg_travels_as_the_camera_encoded_it_without_its_metadata() {
    let cloud = Cloud::start(|_, _| Verdict::Accept).await;
    let (frame, rgb) = delivered_jpeg(&cloud).await;
    check_frame(&frame).expect("a valid frame");
    let original = frame.original.expect("an original");
    assert_eq!(original.media_type, "image/jpeg");
    assert_eq!(original.rgb_crc32c, Some(crc32c::crc32c(&rgb)));
    assert!(original.data.len() < camera_jpeg().len());
    for secret in [b"somewhere".as_slice(), b"52.5N"] {
        let found = original
            .data
            .windows(secret.len())
            .any(|part| part == secret);
        assert!(!found, "it still has {:?}", str::from_utf8(secret));
    }
    let again = media::decode(
        &original.data,
        Some("image/jpeg"),
        None,
        media::Limits::NONE,
    );
    assert_eq!(
        again.expect("a picture").rgb,
        rgb,
        "upright, and the same pixels"
    );
}

#[tokio::test]
async fn a_cloud_of_before_gets_originals_losslessly() {
    let cloud = Cloud::start_of_before(|_, _| Verdict::Accept).await;
    let (frame, rgb) = delivered_jpeg(&cloud).await;
    check_frame(&frame).expect("a valid frame");
    let original = frame.original.expect("an original");
    assert_eq!(
        (original.media_type.as_str(), original.rgb_crc32c),
        ("image/webp", None)
    );
    let again = media::decode(
        &original.data,
        Some("image/webp"),
        None,
        media::Limits::NONE,
    );
    assert_eq!(again.expect("a picture").rgb, rgb);
}

#[tokio::test]
async fn originals_stop_at_their_budget_and_frames_go_on() {
    let dir = tempfile::tempdir().expect("dir");
    let cloud = Cloud::start(|_, _| Verdict::Accept).await;
    let mut config = config(dir.path(), cloud.addr);
    config.originals_share = 1.0;
    config.originals_bytes_per_hour = Some(camera_jpeg().len() as u64 * 2);
    let node = edge_node::start(config).await.expect("start");
    let mut attached = Vec::new();
    for _ in 0..4 {
        let (status, body) = support::answer(
            post_jpeg(&node, camera_jpeg())
                .send()
                .await
                .expect("an answer"),
        )
        .await;
        assert_eq!(status, 202, "{body}");
        attached.push(body["original_attached"] == true);
    }
    assert_eq!(attached, [true, true, false, false]);
    assert_eq!(
        metric(&node, "edge_node_originals_skipped_total").await,
        2.0
    );
}

#[tokio::test]
async fn an_original_too_large_for_the_cloud_stays_behind() {
    let dir = tempfile::tempdir().expect("dir");
    let cloud = Cloud::start(|_, _| Verdict::Accept).await;
    let mut config = config(dir.path(), cloud.addr);
    config.originals_share = 1.0;
    config.uplink.max_message_bytes = 1 << 16;
    let node = edge_node::start(config).await.expect("start");
    let mut noise = 1u32;
    let rgb: Vec<u8> = plain(256, 256, [0; 3])
        .iter()
        .map(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        })
        .collect();
    let request = post_raw(&node, "camera=c", 256, 256, rgb);
    let (status, body) = support::answer(request.send().await.expect("an answer")).await;
    assert_eq!(
        (status, &body["original_attached"]),
        (202, &false.into()),
        "{body}"
    );
    eventually("a frame", async || backlog(&node).await == 0).await;
    let frame = cloud.frames().remove(0);
    assert!(check_frame(&frame).expect("a valid frame").is_some());
    assert_eq!(
        metric(&node, "edge_node_originals_skipped_total").await,
        1.0
    );
    node.shutdown().await;
}

#[tokio::test]
async fn the_cloud_is_told_how_the_spool_fares() {
    let dir = tempfile::tempdir().expect("dir");
    let addr = free_addr().await;
    let node = edge_node::start(config(dir.path(), addr))
        .await
        .expect("start");
    for _ in 0..3 {
        post_one(&node).await;
    }
    // Takes nothing, so that the backlog stays.
    let cloud = Cloud::start_at(addr, 1, |_, _| Verdict::Ignore).await;
    eventually("told", async || !cloud.statuses().is_empty()).await;
    let told = cloud.statuses()[0];
    assert_eq!((told.spool_frames, told.bits_per_patch), (3, 8));
    assert_eq!((told.spool_max_bytes, told.dropped_frames), (4 << 20, 0));
    assert!(told.spool_bytes > 0);
    post_one(&node).await;
    eventually("told again", async || cloud.statuses().len() > 1).await;
    assert_eq!(cloud.statuses()[1].spool_frames, 4);
    node.shutdown().await;
}

#[tokio::test]
async fn a_cloud_that_takes_no_status_is_sent_none() {
    let dir = tempfile::tempdir().expect("dir");
    let cloud = Cloud::start_of_before(|_, _| Verdict::Accept).await;
    let node = edge_node::start(config(dir.path(), cloud.addr))
        .await
        .expect("start");
    let id = post_one(&node).await;
    eventually("delivered", async || state(&node, &id).await == "delivered").await;
    assert!(cloud.statuses().is_empty());
    node.shutdown().await;
}

/// A way to `target` that flips a bit in one of so many bytes, both ways, on its first few connections.
async fn damaging_link(target: SocketAddr, one_in: usize) -> SocketAddr {
    async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, every: usize, first: usize) {
        let (mut piece, mut until) = (vec![0; 4096], first);
        while let Ok(length @ 1..) = from.read(&mut piece).await {
            for byte in &mut piece[..length] {
                until -= 1;
                if until == 0 {
                    *byte ^= 1 << (every % 8);
                    until = every;
                }
            }
            if to.write_all(&piece[..length]).await.is_err() {
                return;
            }
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let addr = listener.local_addr().expect("address");
    tokio::spawn(async move {
        for connection in 0.. {
            let (near, _) = listener.accept().await.expect("accept");
            let (near_in, near_out) = near.into_split();
            let far = TcpStream::connect(target).await.expect("connect");
            let (far_in, far_out) = far.into_split();
            let every = if connection < 24 { one_in } else { usize::MAX };
            // Past the preface of HTTP/2 and the hello, elsewhere each time.
            let first = every.min(300 + connection * 97);
            tokio::spawn(async move {
                tokio::select! {
                    () = pass(near_in, far_out, every, first) => {}
                    () = pass(far_in, near_out, every, first) => {}
                }
            });
        }
    });
    addr
}

#[tokio::test]
async fn a_link_that_damages_bytes_loses_and_refuses_nothing() {
    let dir = tempfile::tempdir().expect("dir");
    let cloud = Cloud::start(|_, _| Verdict::Accept).await;
    let mut config = config(dir.path(), damaging_link(cloud.addr, 2000).await);
    // A damaged window of HTTP/2 shows as silence.
    config.uplink.connect_timeout_s = 1;
    let node = edge_node::start(config).await.expect("start");
    let mut posted = BTreeSet::new();
    for _ in 0..60 {
        posted.insert(post_one(&node).await);
    }
    eventually("an empty spool", async || backlog(&node).await == 0).await;
    let seen: BTreeSet<_> = ids(&cloud).into_iter().collect();
    assert_eq!(seen, posted, "each frame, under its own id");
    for frame in cloud.frames() {
        check_frame(&frame).expect("an undamaged frame");
    }
    for id in &posted {
        assert_eq!(state(&node, id).await, "delivered");
    }
    let connects = metric(&node, "edge_node_uplink_connects_total").await;
    assert!(connects > 2.0, "nothing was damaged");
    node.shutdown().await;
}
