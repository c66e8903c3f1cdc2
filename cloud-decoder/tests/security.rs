//! Each entry point of the cloud: without the right certificate or token no byte is stored and no frame is readable.

use std::path::PathBuf;

use cloud_decoder::Config;
use daemon::tokens::Kind;
use futures::StreamExt as _;
use patchwire_proto::v1::{
    AckStatus, EdgeMessage, EncodedFrame, GetFrameRequest, Hello, ListFramesRequest,
    WatchFramesRequest, catalogue_client::CatalogueClient, cloud_message::Body as CloudBody,
    edge_message::Body as EdgeBody, uplink_client::UplinkClient,
};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use testing::Authority;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Request, Status, Streaming,
    transport::{Channel, ClientTlsConfig, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use support::{
    Cloud, LIMIT, frame, hello,
    secrets::{add, files, revoke, trusting, write},
    with_original,
};

mod support;

/// A cloud with tokens of `node-1`, `node-2` and the viewer `ops`.
struct Guarded {
    cloud: Cloud,
    file: PathBuf,
    node: String,
    other: String,
    viewer: String,
    // Held while the cloud reads it.
    _folder: tempfile::TempDir,
}

impl Guarded {
    async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("tokens");
        let node = add(&file, Kind::Node, "node-1");
        let other = add(&file, Kind::Node, "node-2");
        let viewer = add(&file, Kind::Viewer, "ops");
        let tokens = Some(file.clone());
        let cloud = Cloud::start_with(|config| {
            config.auth.tokens = tokens;
            change(config);
        })
        .await;
        Self {
            cloud,
            file,
            node,
            other,
            viewer,
            _folder: folder,
        }
    }

    async fn request(&self, method: Method, path: &str, token: Option<&str>) -> reqwest::Response {
        let mut request = testing::client().request(method, self.cloud.url(path));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        timeout(LIMIT, request.send())
            .await
            .expect("in time")
            .expect("HTTP")
    }

    /// A frame that came with an original and was decoded.
    async fn decoded(&self) -> String {
        let sent = with_original(frame("gate", 64, 32));
        let channel = self.cloud.channel().await;
        let mut uplink = open(channel, Some(&self.node), "node-1", sent.clone())
            .await
            .expect("stream");
        acked(&mut uplink.down).await.expect("ack");
        let id = uuid::Uuid::from_slice(&sent.frame_id).expect("id");
        let path = format!("/api/v1/frames/{id}");
        testing::eventually("the frame is decoded", LIMIT, async || {
            let answer = self.request(Method::GET, &path, Some(&self.viewer)).await;
            let record: Value = answer.json().await.expect("JSON");
            (record["state"] == "decoded").then_some(())
        })
        .await;
        id.to_string()
    }
}

/// An uplink and its way up, which must stay open.
struct Up {
    down: Streaming<patchwire_proto::v1::CloudMessage>,
    up: mpsc::Sender<EdgeMessage>,
}

fn with_token<T>(message: T, token: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().expect("metadata");
        request.metadata_mut().insert("authorization", value);
    }
    request
}

/// Says hello as `node` and sends a frame right behind it.
async fn open(
    channel: Channel,
    token: Option<&str>,
    node: &str,
    frame: EncodedFrame,
) -> Result<Up, Status> {
    let (up, outbound) = mpsc::channel(8);
    let hello = Hello {
        node_id: node.to_owned(),
        ..hello()
    };
    for body in [EdgeBody::Hello(hello), EdgeBody::Frame(frame)] {
        let message = EdgeMessage { body: Some(body) };
        up.send(message).await.expect("room");
    }
    let request = with_token(ReceiverStream::new(outbound), token);
    let mut client = UplinkClient::new(channel);
    let answer = client.stream(request);
    let down = timeout(LIMIT, answer).await.expect("in time")?.into_inner();
    Ok(Up { down, up })
}

/// Waits for the ack of a stored frame.
async fn acked(down: &mut Streaming<patchwire_proto::v1::CloudMessage>) -> Result<(), Status> {
    loop {
        let message = timeout(LIMIT, down.message()).await.expect("in time")?;
        match message.and_then(|message| message.body) {
            Some(CloudBody::Ack(ack)) => {
                assert_eq!(ack.status(), AckStatus::Accepted);
                return Ok(());
            }
            Some(_) => {}
            None => return Err(Status::cancelled("the stream ended")),
        }
    }
}

fn secure_channel(cloud: &Cloud, tls: ClientTlsConfig) -> Channel {
    let url = format!("https://{}", cloud.running.grpc_addr);
    let endpoint = Endpoint::from_shared(url).expect("URL").tls_config(tls);
    endpoint.expect("TLS").connect_timeout(LIMIT).connect_lazy()
}

#[tokio::test]
async fn uplink_no_frame_is_stored_without_the_nodes_own_token() {
    let guarded = Guarded::start().await;
    let Guarded {
        cloud,
        node,
        other,
        viewer,
        ..
    } = &guarded;
    for (token, code) in [
        (None, Code::Unauthenticated),
        (Some("pw_0000"), Code::Unauthenticated),
        (Some(viewer.as_str()), Code::PermissionDenied),
        (Some(other.as_str()), Code::PermissionDenied),
    ] {
        let channel = cloud.channel().await;
        let status = match open(channel, token, "node-1", frame("gate", 32, 32)).await {
            Err(status) => status,
            Ok(mut up) => acked(&mut up.down).await.expect_err("not this token"),
        };
        assert_eq!(status.code(), code, "{status}");
        assert!(!status.message().is_empty() && !status.message().contains(node.as_str()));
    }
    assert_eq!(cloud.objects(), 0);
    let list = guarded.request(Method::GET, "/api/v1/frames", Some(viewer));
    let list: Value = list.await.json().await.expect("JSON");
    assert_eq!(list["frames"], json!([]));

    let channel = cloud.channel().await;
    let opened = open(channel, Some(node), "node-1", frame("gate", 32, 32)).await;
    acked(&mut opened.expect("stream").down).await.expect("ack");
    assert!(cloud.objects() > 0);
}

#[tokio::test]
async fn uplink_a_revoked_node_is_cut_off_and_stays_out() {
    let guarded = Guarded::start().await;
    let cloud = &guarded.cloud;
    let channel = cloud.channel().await;
    let opened = open(
        channel,
        Some(&guarded.node),
        "node-1",
        frame("gate", 32, 32),
    );
    let mut up = opened.await.expect("stream");
    acked(&mut up.down).await.expect("ack");
    let stored = cloud.latents();

    revoke(&guarded.file, "node-1");
    let status = acked(&mut up.down).await.expect_err("revoked");
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    let late = EdgeMessage {
        body: Some(EdgeBody::Frame(frame("gate", 32, 32))),
    };
    up.up.send(late).await.ok();
    let channel = cloud.channel().await;
    let again = open(
        channel,
        Some(&guarded.node),
        "node-1",
        frame("gate", 32, 32),
    );
    assert_eq!(
        again.await.map(|_| ()).expect_err("revoked").code(),
        Code::Unauthenticated
    );
    assert_eq!(cloud.latents(), stored);
}

#[tokio::test]
async fn uplink_with_mutual_tls_a_token_alone_is_not_enough() {
    let (ours, other) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().expect("folder");
    let (tls, ca) = (files(&ours, folder.path()), ours.pem.clone());
    let ca = write(folder.path(), "clients.pem", &ca);
    let guarded = Guarded::start_with(|config| {
        config.tls = tls;
        config.grpc.client_ca = Some(ca);
    })
    .await;
    let cloud = &guarded.cloud;
    let plain = format!("http://{}", cloud.running.grpc_addr);
    let plain = Endpoint::from_shared(plain).expect("URL").connect_lazy();
    let mut channels = vec![plain];
    for identity in [None, Some(other.sign())] {
        channels.push(secure_channel(cloud, trusting(&ours, identity)));
    }
    for channel in channels {
        let opened = open(
            channel,
            Some(&guarded.node),
            "node-1",
            frame("gate", 32, 32),
        )
        .await;
        let stored = match opened {
            Err(_) => false,
            Ok(mut up) => acked(&mut up.down).await.is_ok(),
        };
        assert!(!stored, "without a certificate of the authority");
    }
    assert_eq!(cloud.objects(), 0);

    let good = secure_channel(cloud, trusting(&ours, Some(ours.sign())));
    let none = open(good.clone(), None, "node-1", frame("gate", 32, 32)).await;
    let status = none.map(|_| ()).expect_err("a certificate without a token");
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    assert_eq!(cloud.objects(), 0);
    let opened = open(good, Some(&guarded.node), "node-1", frame("gate", 32, 32)).await;
    acked(&mut opened.expect("stream").down).await.expect("ack");
}

#[tokio::test]
async fn catalogue_and_reflection_are_for_viewers_and_health_is_for_all() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest,
    };
    let guarded = Guarded::start().await;
    let id = guarded.decoded().await;
    let channel = guarded.cloud.channel().await;
    let mut catalogue = CatalogueClient::new(channel.clone());
    let mut reflection = ServerReflectionClient::new(channel.clone());
    let frame_id = uuid::Uuid::parse_str(&id).expect("id").as_bytes().to_vec();
    let get = GetFrameRequest {
        frame_id: frame_id.into(),
    };
    let services = || {
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        tokio_stream::once(request)
    };
    for (token, code) in [
        (None, Code::Unauthenticated),
        (Some("pw_0000"), Code::Unauthenticated),
        (Some(guarded.node.as_str()), Code::PermissionDenied),
    ] {
        let list = with_token(ListFramesRequest::default(), token);
        let watch = with_token(WatchFramesRequest::default(), token);
        let refused = [
            catalogue.list_frames(list).await.map(|_| ()),
            catalogue.watch_frames(watch).await.map(|_| ()),
            catalogue
                .get_frame(with_token(get.clone(), token))
                .await
                .map(|_| ()),
            reflection
                .server_reflection_info(with_token(services(), token))
                .await
                .map(|_| ()),
        ];
        for answer in refused {
            assert_eq!(answer.expect_err("refused").code(), code);
        }
    }
    let viewer = Some(guarded.viewer.as_str());
    let list = with_token(ListFramesRequest::default(), viewer);
    let list = catalogue.list_frames(list).await.expect("list");
    assert_eq!(list.into_inner().frames.len(), 1);
    reflection
        .server_reflection_info(with_token(services(), viewer))
        .await
        .expect("reflection");
    let health = HealthClient::new(channel)
        .check(HealthCheckRequest::default())
        .await;
    health.expect("health");

    let watch = with_token(WatchFramesRequest::default(), viewer);
    let mut watch = catalogue.watch_frames(watch).await.expect("watch");
    revoke(&guarded.file, "ops");
    let ended = timeout(LIMIT, watch.get_mut().message()).await;
    let status = ended.expect("in time").expect_err("revoked");
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
}

#[tokio::test]
async fn http_nothing_of_a_frame_is_readable_without_a_viewers_token() {
    let guarded = Guarded::start().await;
    let id = guarded.decoded().await;
    let paths = [
        (Method::GET, "/api/v1/frames".to_owned()),
        (Method::GET, format!("/api/v1/frames/{id}")),
        (
            Method::GET,
            format!("/api/v1/frames/{id}/reconstruction.png"),
        ),
        (Method::GET, format!("/api/v1/frames/{id}/thumbnail.jpg")),
        (Method::GET, format!("/api/v1/frames/{id}/original")),
        (Method::GET, format!("/api/v1/frames/{id}/latents.pwl")),
        (Method::GET, "/api/v1/cameras".to_owned()),
        (Method::GET, "/api/v1/summary".to_owned()),
        (Method::GET, "/api/v1/history".to_owned()),
        (Method::GET, "/api/v1/retention".to_owned()),
        (Method::GET, "/api/v1/events".to_owned()),
        (Method::GET, "/metrics".to_owned()),
        (Method::POST, format!("/api/v1/frames/{id}/retry")),
    ];
    for (method, path) in &paths {
        for (token, status) in [
            (None, StatusCode::UNAUTHORIZED),
            (Some("pw_0000"), StatusCode::UNAUTHORIZED),
            (Some(guarded.node.as_str()), StatusCode::FORBIDDEN),
        ] {
            let answer = guarded.request(method.clone(), path, token).await;
            assert_eq!(answer.status(), status, "{path}");
            let challenged = answer.headers().contains_key(header::WWW_AUTHENTICATE);
            assert_eq!(challenged, status == StatusCode::UNAUTHORIZED, "{path}");
            let body: Value = answer.json().await.expect("JSON");
            let told = body["error"].as_str().expect("a sentence");
            assert_eq!(body, json!({ "error": told }), "{path}");
        }
        let viewer = Some(guarded.viewer.as_str());
        let answer = guarded.request(method.clone(), path, viewer).await;
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
    }
    for path in ["/livez", "/readyz", "/login.html", "/", "/api/v1/session"] {
        let answer = guarded.request(Method::GET, path, None).await;
        assert_eq!(answer.status(), 200, "{path}");
        let body = answer.text().await.expect("text");
        assert!(!body.contains(&id), "{path}");
    }
}

#[tokio::test]
async fn http_the_refusal_does_not_wait_for_a_body() {
    let guarded = Guarded::start().await;
    let addr = guarded.cloud.running.http_addr;
    let mut stream = TcpStream::connect(addr).await.expect("connect");
    let path = "/api/v1/frames/018f0000-0000-7000-8000-000000000000/retry";
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("write");
    let mut answer = Vec::new();
    let read = timeout(LIMIT, stream.read_to_end(&mut answer)).await;
    read.expect("in time").expect("answer and close");
    assert!(answer.starts_with(b"HTTP/1.1 401 "));
}

#[tokio::test]
async fn http_metrics_are_open_if_told_to_be_and_an_event_stream_ends_with_its_token() {
    let guarded = Guarded::start_with(|config| config.auth.open_metrics = true).await;
    let refused = guarded.request(Method::GET, "/api/v1/events", None).await;
    assert_eq!(refused.status(), 401);
    let metrics = guarded.request(Method::GET, "/metrics", None).await;
    let metrics = metrics.text().await.expect("text");
    assert!(
        metrics.contains("cloud_decoder_unauthorized_total 1"),
        "{metrics}"
    );

    let viewer = Some(guarded.viewer.as_str());
    let events = guarded.request(Method::GET, "/api/v1/events", viewer).await;
    let mut events = events.bytes_stream();
    let first = timeout(LIMIT, events.next()).await.expect("in time");
    first.expect("an event").expect("bytes");
    revoke(&guarded.file, "ops");
    let rest = async { while events.next().await.is_some_and(|piece| piece.is_ok()) {} };
    timeout(LIMIT, rest).await.expect("the stream ends");
}

#[tokio::test]
async fn login_gives_a_cookie_that_is_not_the_token_and_ends_with_it() {
    let guarded = Guarded::start().await;
    let id = guarded.decoded().await;
    let client = testing::client();
    let url = |path: &str| guarded.cloud.url(path);
    let login = async |token: &str| {
        let request = client.post(url("/api/v1/session"));
        let request = request.json(&json!({ "token": token }));
        request.send().await.expect("HTTP")
    };
    assert_eq!(login("pw_0000").await.status(), 401);
    assert_eq!(login(&guarded.node).await.status(), 403);
    let long = login(&"x".repeat(10_000)).await;
    assert!(long.status().is_client_error() && long.status() != 401);

    let request = client.post(url("/api/v1/session"));
    let request = request.header(header::CONTENT_ENCODING, "gzip");
    let compressed = request
        .json(&json!({ "token": guarded.viewer }))
        .send()
        .await;
    let compressed = compressed.expect("HTTP");
    assert_eq!(compressed.status(), 415);
    let told = compressed.text().await.expect("text");
    assert!(
        told.contains("content-encoding gzip is not supported"),
        "{told}"
    );

    let get = async |path: &str, cookie: &str| {
        let request = client.get(url(path)).header(header::COOKIE, cookie);
        request.send().await.expect("HTTP")
    };
    let mut cookies = Vec::new();
    for _ in 0..2 {
        let answer = login(&guarded.viewer).await;
        assert_eq!(answer.status(), 204);
        let set = answer.headers()[header::SET_COOKIE].to_str().expect("text");
        for part in ["HttpOnly", "SameSite=Strict", "Max-Age=604800"] {
            assert!(set.contains(part), "{set}");
        }
        // So it is valid under /api/v1, behind any prefix of a proxy.
        assert!(!set.contains("Path"), "{set}");
        assert!(!set.contains("Secure") && !set.contains(&guarded.viewer));
        cookies.push(set.split(';').next().expect("a pair").to_owned());
    }
    let [cookie, second] = &cookies[..] else {
        panic!("two logins");
    };
    assert_ne!(cookie, second);
    for path in [
        "/api/v1/summary".to_owned(),
        format!("/api/v1/frames/{id}/reconstruction.png"),
    ] {
        assert_eq!(get(&path, cookie).await.status(), 200, "{path}");
        let beside = format!("a=b; {cookie}; c=d");
        assert_eq!(get(&path, &beside).await.status(), 200, "{path}");
        let wrong = "patchwire-session=0000";
        assert_eq!(get(&path, wrong).await.status(), 401, "{path}");
    }
    let who: Value = get("/api/v1/session", cookie)
        .await
        .json()
        .await
        .expect("JSON");
    assert_eq!(who, json!({ "needed": true, "viewer": "ops" }));

    let retry = async |site: &str| {
        let request = client.post(url(&format!("/api/v1/frames/{id}/retry")));
        let request = request.header(header::COOKIE, cookie);
        let answer = request.header("sec-fetch-site", site).send().await;
        answer.expect("HTTP").status()
    };
    assert_eq!(retry("same-site").await, 401, "a page at another port");
    assert_eq!(retry("same-origin").await, 202);
    let retry_of = async |origin: String| {
        let request = client.post(url(&format!("/api/v1/frames/{id}/retry")));
        let request = request.header(header::COOKIE, cookie);
        let answer = request.header(header::ORIGIN, origin).send().await;
        answer.expect("HTTP").status()
    };
    let addr = guarded.cloud.running.http_addr;
    assert_eq!(retry_of("http://evil.example".into()).await, 401);
    let beside = format!("http://{}:{}", addr.ip(), addr.port() ^ 1);
    assert_eq!(retry_of(beside).await, 401, "a page at another port");
    let own = retry_of(format!("http://{addr}")).await;
    assert!([202, 409].contains(&own.as_u16()), "{own}: its own page");

    let logout = client.delete(url("/api/v1/session"));
    let logout = logout.header(header::COOKIE, cookie).send().await;
    assert_eq!(logout.expect("HTTP").status(), 204);
    assert_eq!(get("/api/v1/summary", cookie).await.status(), 401);
    assert_eq!(get("/api/v1/summary", second).await.status(), 200);
    revoke(&guarded.file, "ops");
    let out = async { while get("/api/v1/summary", second).await.status() != 401 {} };
    timeout(LIMIT, out).await.expect("revoked");
}

#[tokio::test]
async fn wrong_tokens_are_answered_slowly_and_a_right_one_at_once() {
    let guarded = Guarded::start_with(|config| {
        config.http.trusted_proxies = vec!["127.0.0.1".parse().expect("a network")];
    })
    .await;
    let client = testing::client();
    let login = async |token: &str, from: &str| {
        let request = client.post(guarded.cloud.url("/api/v1/session"));
        let request = request.header("x-forwarded-for", from);
        let request = request.json(&json!({ "token": token }));
        request.send().await.expect("HTTP").status()
    };
    let (attacker, other) = ("192.0.2.1", "192.0.2.2");
    let guess = || login("pw_0000", attacker);
    let many = futures::stream::iter(0..200).map(|_| guess());
    let guesses = many
        .buffer_unordered(200)
        .take_until(tokio::time::sleep(std::time::Duration::from_secs(2)));
    let answered: Vec<_> = guesses.collect().await;
    assert!(answered.iter().all(|status| *status == 401));
    assert!(
        answered.len() <= 40,
        "{} guesses of one address were answered in two seconds",
        answered.len()
    );
    let soon = std::time::Duration::from_secs(1);
    for (token, from, status) in [
        (guarded.viewer.as_str(), attacker, 204),
        ("pw_0000", other, 401),
    ] {
        let answer = timeout(soon, login(token, from)).await;
        assert_eq!(answer.expect("no wait"), status, "{from}");
    }
}

#[tokio::test]
async fn a_certificate_that_expires_soon_is_told() {
    let ours = Authority::new();
    let folder = tempfile::tempdir().expect("folder");
    let end = std::time::SystemTime::now() + std::time::Duration::from_secs(5 * 86_400);
    let (cert, key) = ours.sign_until(end);
    let tls = cloud_decoder::config::Tls {
        cert: Some(write(folder.path(), "cert.pem", &cert)),
        key: Some(write(folder.path(), "cert.key", &key)),
    };
    let guarded = Guarded::start_with(|config| config.tls = tls).await;
    let addr = guarded.cloud.running.http_addr;
    let root = reqwest::Certificate::from_pem(ours.pem.as_bytes()).expect("PEM");
    let client = reqwest::Client::builder().tls_certs_only([root]);
    let client = client.resolve("localhost", addr).build().expect("client");
    let get = async |path: &str| {
        let url = format!("https://localhost:{}{path}", addr.port());
        let request = client.get(url).bearer_auth(&guarded.viewer);
        request
            .send()
            .await
            .expect("HTTPS")
            .text()
            .await
            .expect("text")
    };
    let end = end
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970");
    let summary: Value = serde_json::from_str(&get("/api/v1/summary").await).expect("JSON");
    assert_eq!(
        summary["certificate_expires_ms"],
        end.as_secs() * 1000,
        "{summary}"
    );
    let series = format!(
        "\ncloud_decoder_tls_certificate_expires_timestamp_seconds {}\n",
        end.as_secs()
    );
    let metrics = get("/metrics").await;
    assert!(metrics.contains(&series), "{series} in {metrics}");
}

#[tokio::test]
async fn https_serves_who_trusts_it_and_the_cookie_is_for_it_alone() {
    let (ours, other) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().expect("folder");
    let tls = files(&ours, folder.path());
    let guarded = Guarded::start_with(|config| config.tls = tls).await;
    let addr = guarded.cloud.running.http_addr;
    let client = |ca: &str| {
        let root = reqwest::Certificate::from_pem(ca.as_bytes()).expect("PEM");
        reqwest::Client::builder()
            .tls_certs_only([root])
            .resolve("localhost", addr)
            .build()
            .expect("client")
    };
    let url = |scheme: &str, path: &str| format!("{scheme}://localhost:{}{path}", addr.port());
    let session = url("https", "/api/v1/session");
    let login = json!({ "token": guarded.viewer });
    let answer = client(&ours.pem).post(&session).json(&login).send().await;
    let answer = answer.expect("HTTPS");
    assert_eq!(answer.status(), 204);
    let set = answer.headers()[header::SET_COOKIE].to_str().expect("text");
    assert!(set.contains("; Secure"), "{set}");
    let summary = url("https", "/api/v1/summary");
    let summary = client(&ours.pem).get(summary).bearer_auth(&guarded.viewer);
    assert_eq!(summary.send().await.expect("HTTPS").status(), 200);

    let distrusted = client(&other.pem).post(&session).json(&login).send().await;
    distrusted.expect_err("a certificate of another authority");
    let plain = client(&ours.pem).get(url("http", "/livez")).send().await;
    plain.expect_err("no HTTP without TLS");
}
