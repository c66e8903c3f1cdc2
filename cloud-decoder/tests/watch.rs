//! The catalogue over gRPC, health, reflection and live events.

mod support;

use std::time::{Duration, Instant};

use futures::StreamExt;
use patchwire_proto::v1::{
    FrameState, GetFrameRequest, ListFramesRequest, WatchFramesRequest,
    catalogue_client::CatalogueClient, edge_message::Body as EdgeBody,
};
use support::{Cloud, LIMIT, frame, label_only, with_original};
use tokio::time::timeout;
use tonic::{Code, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

#[tokio::test]
async fn frames_are_listed_newest_first_page_by_page() {
    let cloud = Cloud::start().await;
    let mut node = cloud.node().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let camera = if n % 2 == 0 { "even" } else { "odd" };
        ids.push(node.accepted(frame(camera, 40, 40)).await);
    }
    ids.reverse();
    let mut client = cloud.catalogue().await;
    let mut request = ListFramesRequest {
        page_size: 2,
        ..ListFramesRequest::default()
    };
    let mut listed = Vec::new();
    let mut pages = 0;
    loop {
        let answer = client.list_frames(request.clone()).await.expect("page");
        let page = answer.into_inner();
        listed.extend(page.frames.iter().map(|f| f.frame_id.to_vec()));
        pages += 1;
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let want: Vec<_> = ids.iter().map(|id| id.as_bytes().to_vec()).collect();
    assert_eq!((listed, pages), (want, 3));

    let odd = ListFramesRequest {
        camera_id: "odd".to_owned(),
        ..ListFramesRequest::default()
    };
    let odd = client.list_frames(odd).await.expect("page").into_inner();
    assert_eq!(odd.frames.len(), 2);

    for request in [
        ListFramesRequest {
            page_size: 501,
            ..ListFramesRequest::default()
        },
        ListFramesRequest {
            page_token: "1; DROP TABLE frames".to_owned(),
            ..ListFramesRequest::default()
        },
        ListFramesRequest {
            camera_id: "no spaces".to_owned(),
            ..ListFramesRequest::default()
        },
    ] {
        let status = client.list_frames(request).await.expect_err("refused");
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    }
}

#[tokio::test]
async fn one_frame_can_be_had_and_watched() {
    let cloud = Cloud::start().await;
    let mut client = cloud.catalogue().await;
    let watch = WatchFramesRequest {
        camera_id: "gate".to_owned(),
    };
    let mut changes = client
        .watch_frames(watch)
        .await
        .expect("watch")
        .into_inner();
    let mut node = cloud.node().await;
    node.accepted(frame("elsewhere", 64, 64)).await;
    let id = node.accepted(with_original(frame("gate", 64, 64))).await;

    let mut states = Vec::new();
    while states.last() != Some(&FrameState::Decoded) {
        let change = timeout(LIMIT, changes.message()).await.expect("in time");
        let record = change.expect("stream").expect("record");
        assert_eq!(record.frame_id, id.as_bytes().to_vec());
        states.push(record.state());
    }
    assert_eq!(states, [FrameState::Queued, FrameState::Decoded]);

    let get = |id: &[u8]| GetFrameRequest {
        frame_id: id.to_vec().into(),
    };
    let record = client.get_frame(get(id.as_bytes())).await.expect("frame");
    let record = record.into_inner();
    assert!(record.has_original && record.decode_ns > 0, "{record:?}");
    assert!(record.quality.expect("quality").psnr_db.is_some());
    let absent = client.get_frame(get(uuid::Uuid::now_v7().as_bytes())).await;
    assert_eq!(absent.expect_err("absent").code(), Code::NotFound);
    let bad = client.get_frame(get(b"short")).await;
    assert_eq!(bad.expect_err("bad id").code(), Code::InvalidArgument);
}

#[tokio::test]
async fn events_bring_every_change_without_asking() {
    let cloud = Cloud::start().await;
    let response = cloud.http("/api/v1/events").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.bytes_stream();
    let mut text = String::new();
    let mut until = async |end: &str| {
        while !text.contains(end) {
            let chunk = timeout(LIMIT, body.next()).await.expect("in time");
            text.push_str(&String::from_utf8_lossy(
                &chunk.expect("open").expect("bytes"),
            ));
        }
        text.clone()
    };
    until("event: ready\ndata: live").await;
    let mut node = cloud.node().await;
    let id = node.accepted(frame("gate", 64, 64)).await;
    let seen = until(r#""state":"decoded""#).await;
    assert!(seen.contains(r#""state":"queued""#), "{seen}");
    assert!(seen.contains(&id.to_string()), "{seen}");
}

#[tokio::test]
async fn a_watcher_that_falls_behind_is_told_so() {
    let cloud = Cloud::start_with(|c| c.grpc.window = 256).await;
    let endpoint = Channel::from_shared(format!("http://{}", cloud.running.grpc_addr));
    let endpoint = endpoint
        .expect("address")
        .initial_stream_window_size(1 << 16);
    let mut client = CatalogueClient::new(endpoint.connect().await.expect("connection"));
    let watch = client.watch_frames(WatchFramesRequest::default()).await;
    let mut changes = watch.expect("watch").into_inner();
    // The buffer of changes, what HTTP/2 holds, and some more.
    let mut node = cloud.node().await;
    for _ in 0..16 {
        for _ in 0..256 {
            node.send(EdgeBody::Frame(label_only("gate"))).await;
        }
        for _ in 0..256 {
            node.next_ack().await;
        }
    }
    let status = loop {
        match timeout(LIMIT, changes.message()).await.expect("in time") {
            Ok(change) => assert!(change.is_some(), "the stream ended without an error"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::DataLoss, "{status}");
}

#[tokio::test]
async fn health_says_serving_once_warm() {
    let cloud = Cloud::start().await;
    let mut client = HealthClient::new(cloud.channel().await);
    let request = HealthCheckRequest {
        service: "patchwire.v1.Uplink".to_owned(),
    };
    let mut states = client.watch(request).await.expect("watch").into_inner();
    let serving = async {
        while let Some(state) = states.message().await.expect("stream") {
            if state.status() == ServingStatus::Serving {
                return;
            }
        }
    };
    timeout(LIMIT, serving).await.expect("serving in time");
    assert_eq!(cloud.http("/readyz").await.status(), 200);
}

#[tokio::test]
async fn reflection_names_the_services() {
    let cloud = Cloud::start().await;
    let mut client = ServerReflectionClient::new(cloud.channel().await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = client
        .server_reflection_info(tokio_stream::once(request))
        .await;
    let answer = answers.expect("stream").into_inner().message().await;
    let answer = answer.expect("stream").and_then(|a| a.message_response);
    let Some(MessageResponse::ListServicesResponse(list)) = answer else {
        panic!("{answer:?} in place of a list");
    };
    let names: Vec<_> = list.service.iter().map(|s| s.name.as_str()).collect();
    for name in [
        "patchwire.v1.Uplink",
        "patchwire.v1.Catalogue",
        "grpc.health.v1.Health",
    ] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
}

#[tokio::test]
async fn shutdown_is_bounded_with_open_streams() {
    let cloud = Cloud::start().await;
    let _events = cloud.http("/api/v1/events").await;
    let mut client = cloud.catalogue().await;
    let _watch = client.watch_frames(WatchFramesRequest::default()).await;
    let mut node = cloud.node().await;
    // A message arrives, so that all of it is in use.
    node.send(EdgeBody::Frame(frame("gate", 64, 64))).await;
    node.next_ack().await;
    let begun = Instant::now();
    cloud.running.shutdown().await;
    assert!(begun.elapsed() < Duration::from_secs(12));
    assert!(node.next().await.ok().flatten().is_none(), "stream goes on");
}
