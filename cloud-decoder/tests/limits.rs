//! Limits of the gRPC listener against clients, through real sockets.

mod support;

use patchwire_proto::v1::{
    Hello, ListFramesRequest, Program, WatchFramesRequest, catalogue_client::CatalogueClient,
    edge_message::Body as EdgeBody,
};
use support::{Cloud, LIMIT, Node, frame, hello};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::{Code, Request, Status, Streaming, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient};

/// The client's preface and empty settings (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

async fn connect(cloud: &Cloud) -> TcpStream {
    let stream = TcpStream::connect(cloud.running.grpc_addr).await;
    stream.expect("connect")
}

/// Reads until the server closes.
async fn closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let end = timeout(LIMIT, stream.read_to_end(&mut rest)).await;
    // An end or a reset: in both cases the connection is closed.
    end.expect("closed in time").ok();
}

/// Calls until there is an answer: a call that meets the end of its connection fails.
async fn answered(client: &mut CatalogueClient<Channel>) {
    let listed = async {
        while client
            .list_frames(ListFramesRequest::default())
            .await
            .is_err()
        {}
    };
    timeout(LIMIT, listed).await.expect("an answer");
}

async fn idle_cloud() -> Cloud {
    Cloud::start_with(|c| c.grpc.idle_timeout_s = 1).await
}

#[tokio::test]
async fn a_connection_without_a_call_is_closed_and_one_with_a_silent_stream_is_not() {
    let cloud = idle_cloud().await;
    let mut node = cloud.node().await;
    closed(connect(&cloud).await).await;
    let mut greeted = connect(&cloud).await;
    greeted.write_all(PREFACE).await.expect("write");
    closed(greeted).await;
    let mut begun = connect(&cloud).await;
    begun.write_all(&PREFACE[..10]).await.expect("write");
    closed(begun).await;
    // Silent for at least three times as long.
    node.accepted(frame("gate", 40, 40)).await;
}

#[tokio::test]
async fn a_client_whose_connection_was_closed_calls_again() {
    let cloud = idle_cloud().await;
    let mut client = cloud.catalogue().await;
    for _ in 0..2 {
        closed(connect(&cloud).await).await;
        answered(&mut client).await;
    }
}

#[tokio::test]
async fn a_stream_that_never_says_hello_is_ended() {
    let cloud = Cloud::start().await;
    let mut node = Node::open(&cloud).await;
    let status = node.next().await.expect_err("ended");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
}

#[tokio::test]
async fn headers_have_a_limit() {
    let cloud = Cloud::start().await;
    let mut client = cloud.catalogue().await;
    let mut request = Request::new(ListFramesRequest::default());
    let large = "x".repeat(20 << 10).parse().expect("a value");
    request.metadata_mut().insert("x-large", large);
    let refused = timeout(LIMIT, client.list_frames(request)).await;
    refused.expect("an answer").expect_err("too large");
    let mut client = cloud.catalogue().await;
    let fine = client.list_frames(ListFramesRequest::default()).await;
    fine.expect("the service is well");
}

#[tokio::test]
async fn a_call_without_its_message_is_given_up_at_the_callers_deadline() {
    let cloud = Cloud::start().await;
    let (client, connection) = h2::client::handshake(connect(&cloud).await)
        .await
        .expect("handshake");
    let connection = tokio::spawn(connection);
    let mut client = client.ready().await.expect("ready");
    let request =
        tonic::codegen::http::Request::post("http://cloud/patchwire.v1.Catalogue/ListFrames")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-timeout", "200m")
            .body(())
            .expect("a request");
    let (answer, _body) = client.send_request(request, false).expect("sent");
    let answer = timeout(LIMIT, answer).await.expect("in time");
    let status = answer.expect("an answer").headers()["grpc-status"].clone();
    assert_ne!(status, "0");
    connection.abort();
}

#[tokio::test]
async fn a_flood_of_resets_ends_its_connection_and_no_other() {
    let cloud = Cloud::start().await;
    let mut node = cloud.node().await;
    let (mut client, connection) = h2::client::handshake(connect(&cloud).await)
        .await
        .expect("handshake");
    let connection = tokio::spawn(connection);
    let flood = async {
        for number in 0u64.. {
            // The connection runs on the same thread. Many streams at a time, because the server could keep up with one
            // by one.
            if number.is_multiple_of(64) {
                tokio::task::yield_now().await;
            }
            client = match client.ready().await {
                Ok(client) => client,
                Err(_) => break,
            };
            let request = tonic::codegen::http::Request::post("http://cloud/nothing");
            let request = request.body(()).expect("a request");
            match client.send_request(request, false) {
                Ok((_answer, mut body)) => body.send_reset(h2::Reason::CANCEL),
                Err(_) => break,
            }
        }
    };
    timeout(LIMIT, flood).await.expect("the server ends it");
    let ended = timeout(LIMIT, connection).await.expect("it ends");
    let error = ended.expect("no panic").expect_err("by the server");
    // The server's answer may be lost while the client still writes.
    let told = error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM);
    assert!(told || error.is_io(), "{error}");
    node.accepted(frame("gate", 40, 40)).await;
}

#[tokio::test]
async fn an_old_connection_takes_no_more_calls_and_the_client_gets_another() {
    let cloud = Cloud::start_with(|c| c.grpc.max_connection_age_s = 1).await;
    let mut client = cloud.catalogue().await;
    let (idle, connection) = h2::client::handshake(connect(&cloud).await)
        .await
        .expect("handshake");
    timeout(LIMIT, connection)
        .await
        .expect("ended by the server")
        .expect("in good order");
    drop(idle);
    answered(&mut client).await;
}

/// A client that only watches the service's health.
async fn watch_health(
    client: &mut HealthClient<Channel>,
) -> Result<Streaming<HealthCheckResponse>, Status> {
    let watched = client.watch(HealthCheckRequest::default()).await?;
    let mut watched = watched.into_inner();
    let told = timeout(LIMIT, watched.message()).await;
    assert!(told.expect("in time")?.is_some(), "no health was told");
    Ok(watched)
}

#[tokio::test]
async fn a_connection_that_only_watches_the_health_is_idle() {
    let cloud = idle_cloud().await;
    let mut client = HealthClient::new(cloud.channel().await);
    let mut watched = watch_health(&mut client).await.expect("a watch");
    let ended = timeout(LIMIT, watched.message()).await;
    ended
        .expect("a health watch holds its connection for good")
        .expect_err("closed by the server");
}

#[tokio::test]
async fn health_watches_on_one_connection_are_bounded() {
    let cloud = Cloud::start().await;
    let mut client = HealthClient::new(cloud.channel().await);
    let mut watches = Vec::new();
    for _ in 0..4 {
        watches.push(watch_health(&mut client).await.expect("a watch"));
    }
    let refused = watch_health(&mut client).await.expect_err("one too many");
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    watches.pop();
    testing::eventually(
        "a watch in the place of one that ended",
        LIMIT,
        async || watch_health(&mut client).await.ok(),
    )
    .await;
}

#[tokio::test]
async fn a_connection_ends_after_its_age_and_grace_whatever_is_open_on_it() {
    let cloud = Cloud::start_with(|c| {
        c.grpc.max_connection_age_s = 1;
        c.grpc.connection_grace_s = 1;
    })
    .await;
    let mut client = cloud.catalogue().await;
    let watched = client.watch_frames(WatchFramesRequest::default()).await;
    let mut watched = watched.expect("a watch").into_inner();
    let ended = timeout(LIMIT, watched.message()).await;
    ended
        .expect("a connection outlives its age and grace")
        .expect_err("closed by the server");
}

#[tokio::test]
async fn a_hello_that_would_take_gigabytes_is_refused_before_it_is_decoded() {
    let cloud = Cloud::start().await;
    let mut node = Node::open(&cloud).await;
    let hello = Hello {
        programs: vec![Program::default(); 100_000],
        ..hello()
    };
    node.send(EdgeBody::Hello(hello.clone())).await;
    let status = node.next().await.expect_err("refused");
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert_eq!(
        status.message(),
        "the first message is 200057 bytes long, a hello has at most 16453",
    );
    let mut node = cloud.node().await;
    node.send(EdgeBody::Hello(hello)).await;
    let status = node.next().await.expect_err("refused later, too");
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert_eq!(
        status.message(),
        "a hello is 200048 bytes long, allowed are at most 16384",
    );
    let mut node = cloud.node().await;
    node.accepted(frame("gate", 40, 40)).await;
}
