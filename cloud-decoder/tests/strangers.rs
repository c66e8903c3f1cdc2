//! Strangers who hold as many connections as they can lock out no authorized client.

mod support;

use std::time::Duration;

use daemon::{boot::open_files, tokens::Kind};
use patchwire_proto::v1::{
    EdgeMessage, ListFramesRequest, catalogue_client::CatalogueClient,
    cloud_message::Body as CloudBody, edge_message::Body as EdgeBody, uplink_client::UplinkClient,
};
use support::{Cloud, LIMIT, frame, hello, secrets::add};
use testing::storm::{Storm, longest_outage};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, transport::Endpoint};

/// The client's preface and empty settings (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// The first half of a request.
const HALF: &[u8] = b"GET /api/v1/summary HTTP/1.1\r\nhost: cloud\r\n";
/// Another address than that of the authorized clients.
const ELSEWHERE: [u8; 4] = [127, 0, 0, 2];
/// Longest time that an authorized client may be locked out.
const LONGEST: Duration = Duration::from_secs(5);

struct Known {
    node: String,
    viewer: String,
}

fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}").parse().expect("metadata");
    request.metadata_mut().insert("authorization", value);
    request
}

/// A node that connects, says hello and has a frame accepted.
async fn comes_and_sends(cloud: &Cloud, known: &Known) -> Option<()> {
    let address = format!("http://{}", cloud.running.grpc_addr);
    let channel = Endpoint::from_shared(address).ok()?.connect().await.ok()?;
    let (up, outbound) = mpsc::channel(2);
    let mut client = UplinkClient::new(channel);
    for body in [
        EdgeBody::Hello(hello()),
        EdgeBody::Frame(frame("gate", 40, 40)),
    ] {
        up.send(EdgeMessage { body: Some(body) }).await.ok()?;
    }
    let request = with_token(ReceiverStream::new(outbound), &known.node);
    let mut down = client.stream(request).await.ok()?.into_inner();
    let welcome = down.message().await.ok()??.body?;
    let ack = down.message().await.ok()??.body?;
    matches!((welcome, ack), (CloudBody::Welcome(_), CloudBody::Ack(_))).then_some(())
}

async fn looks_over_grpc(cloud: &Cloud, known: &Known) -> Option<()> {
    let address = format!("http://{}", cloud.running.grpc_addr);
    let channel = Endpoint::from_shared(address).ok()?.connect().await.ok()?;
    let request = with_token(ListFramesRequest::default(), &known.viewer);
    CatalogueClient::new(channel)
        .list_frames(request)
        .await
        .ok()?;
    Some(())
}

async fn looks_over_http(cloud: &Cloud, known: &Known) -> Option<()> {
    let request = testing::client().get(cloud.url("/api/v1/summary"));
    let answer = request.bearer_auth(&known.viewer).send().await.ok()?;
    (answer.status() == 200).then_some(())
}

/// Strangers at both listeners for some time, while a node and viewers connect again and again, and another node stays
/// connected.
async fn storm([at_grpc, at_http]: [usize; 2], lasting: Duration) {
    open_files().expect("open files");
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("tokens");
    let known = Known {
        node: add(&file, Kind::Node, "node-1"),
        viewer: add(&file, Kind::Viewer, "ops"),
    };
    let cloud = Cloud::start_with(|config| {
        config.auth.tokens = Some(file);
        config.grpc.max_streams = 4;
    })
    .await;
    // A node that connected before the strangers.
    let channel = cloud.channel().await;
    let (up, outbound) = mpsc::channel(2);
    let hello = EdgeMessage {
        body: Some(EdgeBody::Hello(hello())),
    };
    up.send(hello).await.expect("room");
    let request = with_token(ReceiverStream::new(outbound), &known.node);
    let there = UplinkClient::new(channel).stream(request).await;
    let mut there = there.expect("a stream").into_inner();
    timeout(LIMIT, there.message())
        .await
        .expect("in time")
        .expect("a welcome");

    let grpc = Storm::start(cloud.running.grpc_addr, ELSEWHERE.into(), at_grpc, PREFACE).await;
    let http = Storm::start(cloud.running.http_addr, ELSEWHERE.into(), at_http, HALF).await;
    let (stalled, node, viewer, browser) = tokio::join!(
        // Time for which the machine itself stalls, because it lacks processors.
        longest_outage(lasting, async || true),
        longest_outage(lasting, async || comes_and_sends(&cloud, &known)
            .await
            .is_some()),
        longest_outage(lasting, async || looks_over_grpc(&cloud, &known)
            .await
            .is_some()),
        longest_outage(lasting, async || looks_over_http(&cloud, &known)
            .await
            .is_some()),
    );
    eprintln!(
        "{at_grpc} strangers at gRPC and {at_http} at HTTP, who connected {} and {} times: a node was out for {node:?}, a viewer for {viewer:?} \
         (gRPC) and {browser:?} (HTTP) at most, the machine for {stalled:?}",
        grpc.connects(),
        http.connects()
    );
    for (who, out) in [("node", node), ("viewer", viewer), ("browser", browser)] {
        assert!(
            out < LONGEST + stalled,
            "a known {who} was kept out for {out:?}"
        );
    }
    let last = EdgeMessage {
        body: Some(EdgeBody::Frame(frame("gate", 40, 40))),
    };
    up.send(last).await.expect("the stream stands");
    let acked = timeout(LIMIT, there.message()).await.expect("in time");
    assert!(
        acked.expect("the stream stands").is_some(),
        "the stream of a node that was there before ended"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_at_all_doors_keep_nobody_out_who_is_known() {
    // More than there are slots, for strangers and in all.
    storm([1200; 2], Duration::from_secs(3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes four minutes and 13,000 open files"]
async fn ten_thousand_strangers_keep_nobody_out_who_is_known() {
    // One listener after the other: the strangers run in this process too, and its open files are limited.
    storm([10_000, 0], Duration::from_secs(120)).await;
    storm([0, 10_000], Duration::from_secs(120)).await;
}
