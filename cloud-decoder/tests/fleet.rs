//! The dashboard's requests beyond frames: nodes, history, scene changes, labels, and comparisons with the original.

mod support;

use patchwire_proto::v1::{
    AckStatus, EncodedFrame, NodeStatus, Program, edge_message::Body as EdgeBody,
};
use reqwest::StatusCode;
use serde_json::Value;
use support::{Cloud, Node, PROGRAM, frame, hello, label_only, sealed, with_original};
use tonic::Code;

fn captured(mut frame: EncodedFrame, ms: i64) -> EncodedFrame {
    frame.captured_unix_ms = ms;
    sealed(frame)
}

#[tokio::test]
async fn nodes_tell_their_programs_and_their_backlog() {
    let cloud = Cloud::start().await;
    assert_eq!(
        cloud.json("/api/v1/nodes").await["nodes"],
        serde_json::json!([])
    );
    let node = Node::open(&cloud).await;
    let mut greeting = hello();
    greeting.programs = vec![Program {
        id: PROGRAM.to_vec().into(),
        name: "compress".to_owned(),
        latent_bits: 16,
        macs_per_patch: 1_000_000,
        weight_bits: 900_000,
        budget_bits: 1_048_576,
        ..Program::default()
    }];
    node.send(EdgeBody::Hello(greeting)).await;
    let status = NodeStatus {
        spool_frames: 12,
        spool_bytes: 34_000,
        spool_max_bytes: 1 << 30,
        bits_per_patch: 8,
        dropped_frames: 2,
        held_frames: 1,
    };
    node.send(EdgeBody::Status(status)).await;
    let told = |answer: &Value| answer["nodes"][0]["spool"].is_object();
    let nodes = cloud.wanted("/api/v1/nodes", told).await;
    let first = &nodes["nodes"][0];
    assert_eq!(
        (&first["node"], &first["connected"]),
        (&"node-1".into(), &true.into())
    );
    assert_eq!(first["spool"]["frames"], 12);
    assert_eq!(first["spool"]["bits_per_patch"], 8);
    assert_eq!(first["spool"]["dropped"], 2);
    assert_eq!(first["programs"][0]["id"], hex::encode(PROGRAM));
    assert_eq!(first["programs"][0]["task"], "compress");
    assert_eq!(first["programs"][0]["memory_bits"]["weights"], 900_000);

    drop(node);
    let gone = |answer: &Value| answer["nodes"][0]["connected"] == false;
    let nodes = cloud.wanted("/api/v1/nodes", gone).await;
    assert_eq!(
        nodes["nodes"][0]["spool"]["frames"], 12,
        "what it told last"
    );
}

#[tokio::test]
async fn a_node_that_tells_nonsense_is_hung_up_on() {
    let cloud = Cloud::start().await;
    let mut node = cloud.node().await;
    let status = NodeStatus {
        spool_bytes: u64::MAX,
        ..NodeStatus::default()
    };
    node.send(EdgeBody::Status(status)).await;
    let status = node.next().await.expect_err("ended");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("spool_bytes is"), "{status}");
}

#[tokio::test]
async fn history_averages_steps_of_cameras_and_programs() {
    let cloud = Cloud::start().await;
    let mut node = cloud.node().await;
    let start = 1_790_000_000_000;
    let mut ids = Vec::new();
    for (camera, ms) in [
        ("gate", 0),
        ("gate", 400),
        ("gate", 60_000),
        ("yard", 60_000),
    ] {
        let frame = captured(with_original(frame(camera, 192, 192)), start + ms);
        ids.push(node.accepted(frame).await);
    }
    node.accepted(label_only("gate")).await;
    let mut psnr = Vec::new();
    for id in ids {
        let frame = cloud.until(id, "decoded").await;
        psnr.push(frame["quality"]["psnr_db"].as_f64().expect("PSNR"));
    }
    let to = start + 120_000;
    let path = format!("/api/v1/history?from_ms={start}&to_ms={to}&points=120");
    let history = cloud.json(&path).await;
    assert_eq!(history["step_ms"], 1000);
    let lines = history["lines"].as_array().expect("lines");
    assert_eq!(
        (&lines[0]["name"], &lines[1]["name"]),
        (&"gate".into(), &"yard".into())
    );
    assert_eq!(lines[0]["frames"], serde_json::json!([2, 1]));
    assert_eq!(lines[0]["captured_ms"][0], start + 200);
    let mean = lines[0]["psnr_db"][0].as_f64().expect("mean");
    assert!((mean - (psnr[0] + psnr[1]) / 2.0).abs() < 1e-9, "{mean}");
    for metric in [
        "ssim",
        "ms_ssim",
        "seam_ratio",
        "bpp",
        "latent_ones",
        "encode_ms",
        "decode_ms",
        "latency_ms",
    ] {
        assert!(lines[0][metric][0].is_f64(), "{metric}: {}", lines[0]);
    }
    // Zoomed in, for one camera.
    let path = format!(
        "/api/v1/history?from_ms={start}&to_ms={}&camera=gate",
        start + 1000
    );
    let zoomed = cloud.json(&path).await;
    assert_eq!(zoomed["lines"][0]["frames"], serde_json::json!([1, 1]));
    // All frames, by program.
    let by_program = cloud.json("/api/v1/history?lines=program").await;
    assert_eq!(by_program["from_ms"], start);
    assert_eq!(by_program["lines"][0]["name"], hex::encode(PROGRAM));
    let frames: i64 = by_program["lines"][0]["frames"]
        .as_array()
        .expect("frames")
        .iter()
        .filter_map(Value::as_i64)
        .sum();
    assert_eq!(frames, 4);
    let other = cloud
        .json(&format!("/api/v1/history?program={}", "0".repeat(64)))
        .await;
    assert_eq!(other["lines"], serde_json::json!([]));
}

#[tokio::test]
async fn history_and_labels_refuse_what_they_cannot_answer() {
    let cloud = Cloud::start().await;
    for (path, part) in [
        ("/api/v1/history?from_ms=2&to_ms=1", "from_ms 2 and to_ms 1"),
        ("/api/v1/history?points=0", "points is 0"),
        ("/api/v1/history?program=12", "64 hexadecimal digits"),
        ("/api/v1/history?lines=node", "node"),
        ("/api/v1/drift?camera=a%20b", "camera"),
        ("/api/v1/labels?limit=501", "limit is 501"),
        ("/api/v1/frames?state=lost", "lost"),
    ] {
        let response = cloud.http(path).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{path}");
        let body: Value = response.json().await.expect(path);
        let message = body["error"].as_str().expect(path);
        assert!(message.contains(part), "{path}: {message}");
    }
}

#[tokio::test]
async fn labels_page_and_frames_are_found_by_state() {
    let cloud = Cloud::start_with(|config| config.decode.max_attempts = 1).await;
    let mut node = cloud.node().await;
    let mut labelled = Vec::new();
    for n in 0..3 {
        labelled.push(
            node.accepted(label_only(if n == 1 { "yard" } else { "gate" }))
                .await,
        );
        node.accepted(frame("gate", 40, 40)).await;
    }
    let first = cloud.json("/api/v1/labels?limit=2").await;
    let entries = first["labels"].as_array().expect("labels");
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0]["frame"], labelled[2].to_string());
    assert_eq!(
        (&entries[0]["label"], &entries[0]["score"]),
        (&"ship".into(), &0.75.into())
    );
    let next = first["next"].as_str().expect("next");
    let second = cloud
        .json(&format!("/api/v1/labels?limit=2&before={next}"))
        .await;
    assert_eq!(second["labels"][0]["frame"], labelled[0].to_string());
    assert!(second["next"].is_null());
    let yard = cloud.json("/api/v1/labels?camera=yard").await;
    assert_eq!(yard["labels"].as_array().expect("labels").len(), 1);

    let of = async |state: &str| {
        let path = format!("/api/v1/frames?state={state}");
        cloud.json(&path).await["frames"]
            .as_array()
            .expect("frames")
            .len()
    };
    assert_eq!(of("labelled").await, 3);
    assert_eq!(of("failed").await, 0);
    cloud
        .wanted("/api/v1/frames?state=decoded", |page| {
            page["frames"].as_array().expect("frames").len() == 3
        })
        .await;
}

/// A frame of `gate` whose patches are all alike.
fn filled(byte: u8) -> EncodedFrame {
    let mut frame = frame("gate", 64, 64);
    let latents = latent::LatentFrame {
        bits: support::BITS,
        width: 64,
        height: 64,
        program: PROGRAM,
        payload: vec![byte; 8].into(),
    };
    frame.latents = latents.encode();
    sealed(frame)
}

#[tokio::test]
async fn a_camera_that_begins_to_see_something_else_drifts() {
    let cloud = Cloud::start().await;
    let mut node = cloud.node().await;
    let send = async |node: &mut Node, byte, frames| {
        for _ in 0..frames {
            node.accepted(filled(byte)).await;
        }
    };
    let state =
        |wanted: &'static str| move |answer: &Value| answer["cameras"][0]["state"] == wanted;
    send(&mut node, 0x0f, 40).await;
    let learned = |answer: &Value| answer["cameras"][0]["frames"] == 32;
    let early = cloud.wanted("/api/v1/drift", learned).await;
    assert_eq!(early["cameras"][0]["state"], "learning");
    send(&mut node, 0x0f, 24).await;
    let steady = cloud.wanted("/api/v1/drift?camera=gate", state("steady"));
    assert_eq!(steady.await["cameras"][0]["alarm"], Value::Null);

    send(&mut node, 0xf0, 32).await;
    let moved = cloud.wanted("/api/v1/drift", state("drifting")).await;
    let gate = &moved["cameras"][0];
    let sentence = gate["sentence"].as_str().expect("a sentence");
    assert!(
        sentence.starts_with("The scene of gate has changed"),
        "{sentence}"
    );
    let cameras = cloud.json("/api/v1/cameras").await;
    assert!(
        cameras["cameras"][0]["changed_since_ms"].is_i64(),
        "{cameras}"
    );
    let standing = cloud.json("/api/v1/alarms?standing=true").await;
    let alarm = &standing["alarms"][0];
    assert_eq!(
        (&alarm["kind"], &alarm["camera"]),
        (&"drift".into(), &"gate".into())
    );
    assert_eq!(alarm, &gate["alarm"]);

    // One more minute of it changes nothing; the return of the scene ends the alarm.
    send(&mut node, 0xf0, 64).await;
    assert_eq!(cloud.json("/api/v1/summary").await["alarms"], 1);
    send(&mut node, 0x0f, 32).await;
    cloud.wanted("/api/v1/drift", state("steady")).await;
    let ended = cloud
        .json("/api/v1/alarms?standing=false&camera=gate")
        .await;
    assert_eq!(ended["alarms"][0]["id"], alarm["id"]);
    assert!(ended["alarms"][0]["end_ms"].is_i64(), "{ended}");
}

#[tokio::test]
async fn an_acknowledged_scene_is_the_usual_one() {
    let cloud = Cloud::start().await;
    let mut node = cloud.node().await;
    let mut send = async |byte: u8, frames: usize| {
        for _ in 0..frames {
            node.accepted(filled(byte)).await;
        }
    };
    send(0x0f, 64).await;
    send(0xf0, 32).await;
    let one = |answer: &Value| {
        answer["alarms"]
            .as_array()
            .is_some_and(|alarms| alarms.len() == 1)
    };
    let standing = cloud.wanted("/api/v1/alarms?standing=true", one).await;
    let id = &standing["alarms"][0]["id"];
    let acknowledge = async |id: &str| {
        let url = cloud.url(&format!("/api/v1/alarms/{id}/acknowledge"));
        testing::client().post(url).send().await.expect("answer")
    };
    let answer = acknowledge(&id.to_string()).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let alarm: Value = answer.json().await.expect("JSON");
    assert_eq!(alarm["acknowledged_by"], "anonymous");
    let none = |answer: &Value| answer["alarms"].as_array().is_some_and(Vec::is_empty);
    cloud.wanted("/api/v1/alarms?standing=true", none).await;
    send(0xf0, 64).await;
    let steady = |answer: &Value| answer["cameras"][0]["state"] == "steady";
    cloud.wanted("/api/v1/drift", steady).await;
    assert_eq!(
        cloud.json("/api/v1/alarms?kind=drift").await["alarms"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    assert_eq!(
        acknowledge(&id.to_string()).await.status(),
        StatusCode::NOT_FOUND
    );
    assert_eq!(acknowledge("first").await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_camera_that_sends_no_more_is_silent_until_it_sends_again() {
    let cloud = Cloud::start_with(|config| {
        let intervals = &mut config.analysis.intervals_s;
        intervals.insert("slow".to_owned(), 3600.0);
        intervals.insert("gate".to_owned(), 0.001);
        config.analysis.silence_s = 1.0;
    })
    .await;
    let mut node = cloud.node().await;
    for camera in ["slow", "gate", "unknown"] {
        node.accepted(label_only(camera)).await;
    }
    let one = |answer: &Value| {
        answer["alarms"]
            .as_array()
            .is_some_and(|alarms| alarms.len() == 1)
    };
    let silent = cloud.wanted("/api/v1/alarms?standing=true", one).await;
    assert_eq!(
        (&silent["alarms"][0]["kind"], &silent["alarms"][0]["camera"]),
        (&"silent".into(), &"gate".into())
    );
    let cameras = cloud.json("/api/v1/cameras").await;
    let order: Vec<_> = cameras["cameras"]
        .as_array()
        .expect("cameras")
        .iter()
        .map(|c| c["camera"].as_str())
        .collect();
    assert_eq!(
        order,
        [Some("gate"), Some("slow"), Some("unknown")],
        "worst first"
    );
    assert!(cameras["cameras"][0]["silent_since_ms"].is_i64());
    let metrics = cloud.http("/metrics").await.text().await.expect("text");
    let series = "cloud_decoder_alarm_standing{kind=\"silent\",camera=\"gate\"} 1";
    assert!(metrics.contains(series), "{metrics}");

    node.accepted(label_only("gate")).await;
    let ended = |answer: &Value| answer["alarms"][0]["end_ms"].is_i64();
    cloud.wanted("/api/v1/alarms?standing=false", ended).await;
}

#[tokio::test]
async fn more_than_500_cameras_count_and_page() {
    let cloud = Cloud::start().await;
    let mut node = cloud.node().await;
    for n in 0..501 {
        node.accepted(label_only(&format!("camera-{n:03}"))).await;
    }
    assert_eq!(cloud.json("/api/v1/summary").await["cameras"], 501);
    let first = cloud.json("/api/v1/cameras").await;
    assert_eq!(
        (&first["total"], &first["next"]),
        (&501.into(), &500.into())
    );
    let last = cloud.json("/api/v1/cameras?offset=500").await;
    assert_eq!(last["cameras"][0]["camera"], "camera-500");
    assert_eq!(
        (last["cameras"].as_array().map(Vec::len), &last["next"]),
        (Some(1), &Value::Null)
    );
    let names = cloud.json("/api/v1/cameras/names").await;
    assert_eq!(names["names"].as_array().map(Vec::len), Some(501));
    for path in [
        "/api/v1/cameras?limit=0",
        "/api/v1/cameras?limit=501",
        "/api/v1/cameras?offset=-1",
    ] {
        assert_eq!(
            cloud.http(path).await.status(),
            StatusCode::BAD_REQUEST,
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_reconstruction_is_compared_with_its_original() {
    let cloud = Cloud::start().await;
    let mut node = cloud.node().await;
    // 7 x 2 patches, the last ones narrower.
    let id = node.accepted(with_original(frame("gate", 200, 64))).await;
    let decoded = cloud.until(id, "decoded").await;
    assert!(decoded["finished_ms"].as_i64() >= decoded["received_ms"].as_i64());
    assert!(decoded["measure_ms"].as_f64() > Some(0.0), "{decoded}");
    assert!(decoded["store_ms"].as_f64() > Some(0.0), "{decoded}");

    let patches = cloud.json(&format!("/api/v1/frames/{id}/patches")).await;
    assert_eq!(
        (&patches["columns"], &patches["rows"]),
        (&7.into(), &2.into())
    );
    let mse: Vec<f64> = patches["mse"]
        .as_array()
        .expect("mse")
        .iter()
        .filter_map(Value::as_f64)
        .collect();
    assert_eq!(mse.len(), 14);
    // Weighted by their pixels, the patches' errors give the frame's PSNR.
    let width = |n: usize| if n % 7 == 6 { 8.0 } else { 32.0 };
    let whole = mse
        .iter()
        .enumerate()
        .map(|(n, e)| e * width(n) * 32.0)
        .sum::<f64>()
        / (200.0 * 64.0);
    let psnr = 10.0 * (255.0 * 255.0 / whole).log10();
    let told = decoded["quality"]["psnr_db"].as_f64().expect("PSNR");
    assert!(
        (psnr - told).abs() < 1e-3,
        "{psnr} from patches, {told} from the frame"
    );

    let jpeg = cloud
        .http(&format!("/api/v1/frames/{id}/same-size.jpg"))
        .await;
    assert_eq!(jpeg.status(), 200);
    let headers = jpeg.headers().clone();
    assert_eq!(headers["content-type"], "image/jpeg");
    // 28 bytes are too few for any JPEG.
    assert_eq!(headers["x-jpeg-quality"], "1");
    assert!(
        headers["x-psnr-db"]
            .to_str()
            .expect("text")
            .parse::<f64>()
            .is_ok()
    );
    let bytes = jpeg.bytes().await.expect("body");
    assert_eq!(bytes[..2], [0xff, 0xd8]);
    let again = testing::client()
        .get(cloud.url(&format!("/api/v1/frames/{id}/same-size.jpg")))
        .header("if-none-match", &headers["etag"])
        .send()
        .await
        .expect("answer");
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);

    let plain = node.accepted(frame("gate", 64, 64)).await;
    cloud.until(plain, "decoded").await;
    for path in ["patches", "same-size.jpg"] {
        let response = cloud.http(&format!("/api/v1/frames/{plain}/{path}")).await;
        assert_eq!(response.status(), 404, "{path}");
        let body: Value = response.json().await.expect("JSON");
        let message = body["error"].as_str().expect("a sentence");
        assert!(message.contains("without an original"), "{message}");
    }
}

#[tokio::test]
async fn bytes_are_told_by_kind_as_they_travelled() {
    let cloud = Cloud::start().await;
    let mut node = cloud.node().await;
    let mut told = with_original(frame("gate", 64, 64));
    told.source_bytes = 5000;
    let (told, plain) = (sealed(told), frame("yard", 64, 64));
    let original = told
        .original
        .as_ref()
        .map_or(0, |original| original.data.len());
    let wire = |frame: &EncodedFrame| prost::Message::encoded_len(frame) as i64 + 5;
    let (first, second) = (wire(&told), wire(&plain));
    let latents = told.latents.len() as i64;
    let id = node.accepted(told).await;
    let record = cloud.json(&format!("/api/v1/frames/{id}")).await;
    assert_eq!(
        (&record["source_bytes"], &record["wire_bytes"]),
        (&5000.into(), &first.into())
    );
    assert_eq!(record["original_bytes"], original);
    let summary = cloud.json("/api/v1/summary").await;
    let saved = summary["saved"].as_f64().expect("all told");
    assert!(
        (saved - (1.0 - first as f64 / 5000.0)).abs() < 1e-9,
        "{summary}"
    );

    node.accepted(plain.clone()).await;
    let (status, _) = node.ack(plain).await;
    assert_eq!(status, AckStatus::Duplicate);
    assert_eq!(
        cloud.json("/api/v1/summary").await["saved"],
        Value::Null,
        "an edge that does not tell"
    );
    let by_camera = cloud.json("/api/v1/traffic?by=camera").await;
    let lines = &by_camera["lines"];
    assert_eq!(
        (
            &lines[0]["name"],
            &lines[0]["frames"],
            &lines[0]["latent_bytes"]
        ),
        (&"gate".into(), &1.into(), &latents.into())
    );
    assert_eq!(lines[1]["frames"], 1);
    let all = [
        "latent_bytes",
        "label_bytes",
        "original_bytes",
        "overhead_bytes",
    ];
    let sum = |line: &Value| {
        all.iter()
            .filter_map(|kind| line[*kind].as_i64())
            .sum::<i64>()
    };
    assert_eq!(sum(&lines[0]), first);
    assert_eq!(sum(&lines[1]), second * 2, "it came twice");
    let days = cloud.json("/api/v1/traffic?days=2&camera=gate").await;
    let name = days["lines"][0]["name"].as_str().expect("a day");
    assert!(name.len() == 10 && name.starts_with("20"), "{name}");
    assert_eq!(
        cloud.http("/api/v1/traffic?days=93").await.status(),
        StatusCode::BAD_REQUEST
    );
}
