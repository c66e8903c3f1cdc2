//! Each door of the edge node: without the right token no byte is stored and nothing is told, and without the right
//! certificate no frame and no token goes to a cloud.

use std::path::{Path, PathBuf};

use daemon::tokens::{Kind, append, generate};
use edge_node::{
    Config, Running,
    config::{Tls, UplinkTls},
};
use reqwest::{Client, Method, RequestBuilder};
use testing::Authority;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use support::{Cloud, PATIENCE, Verdict, answer, config, eventually, free_addr, plain, post_one};

mod support;

/// Of a server with a certificate of this authority.
fn server(authority: &Authority) -> ServerTlsConfig {
    let (cert, key) = authority.sign();
    ServerTlsConfig::new().identity(Identity::from_pem(cert, key))
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("file");
    path
}

fn add(file: &Path, kind: Kind, name: &str) -> String {
    let (token, holder) = generate(kind, name).expect("token");
    append(file, &holder).expect("file");
    token
}

fn request(node: &Running, method: Method, path: &str, token: Option<&str>) -> RequestBuilder {
    let url = format!("http://{}{path}", node.http_addr);
    let request = testing::client().request(method, url);
    match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    }
}

fn frame(request: RequestBuilder) -> RequestBuilder {
    request
        .header("content-type", "application/octet-stream")
        .header("x-frame-width", 32)
        .header("x-frame-height", 32)
        .body(plain(32, 32, [200, 0, 0]))
}

#[tokio::test]
async fn http_no_frame_is_stored_and_nothing_told_without_the_right_token() {
    let dir = tempfile::tempdir().expect("dir");
    let file = dir.path().join("tokens");
    let sender = add(&file, Kind::Sender, "gate");
    let viewer = add(&file, Kind::Viewer, "ops");
    let mut config = config(dir.path(), free_addr().await);
    config.auth.tokens = Some(file);
    let node = edge_node::start(config).await.expect("start");

    let post = async |token| {
        let request = request(&node, Method::POST, "/v1/frames?camera=gate", token);
        answer(frame(request).send().await.expect("an answer")).await
    };
    for (token, status) in [
        (None, 401),
        (Some("pw_0000"), 401),
        (Some(viewer.as_str()), 403),
    ] {
        let (told, body) = post(token).await;
        assert_eq!(told, status, "{body}");
        assert!(body["error"].is_string(), "{body}");
    }
    let get = async |path: &str, token| {
        let request = request(&node, Method::GET, path, token);
        answer(request.send().await.expect("an answer")).await
    };
    let (_, status) = get("/v1/status", Some(&viewer)).await;
    assert_eq!(status["backlog"]["frames"], 0, "{status}");
    let (_, metrics) = get("/metrics", Some(&viewer)).await;
    let metrics = metrics.as_str().expect("text");
    assert!(
        metrics.contains("edge_node_unauthorized_total 3"),
        "{metrics}"
    );

    let (status, body) = post(Some(&sender)).await;
    assert_eq!(status, 202, "{body}");
    let of_frame = format!("/v1/frames/{}", body["frame_id"].as_str().expect("an id"));
    for (path, for_sender) in [
        (of_frame.as_str(), 200),
        ("/v1/encoder", 403),
        ("/v1/status", 403),
        ("/metrics", 403),
    ] {
        assert_eq!(get(path, None).await.0, 401, "{path}");
        assert_eq!(get(path, Some("pw_0000")).await.0, 401, "{path}");
        assert_eq!(get(path, Some(&sender)).await.0, for_sender, "{path}");
        assert_eq!(get(path, Some(&viewer)).await.0, 200, "{path}");
    }
    for path in ["/livez", "/readyz"] {
        assert_eq!(get(path, None).await.0, 200, "{path}");
    }
    node.shutdown().await;
}

#[tokio::test]
async fn http_the_refusal_does_not_wait_for_the_body_and_metrics_can_be_open() {
    let dir = tempfile::tempdir().expect("dir");
    let mut config = config(dir.path(), free_addr().await);
    config.auth.tokens = Some(write(dir.path(), "tokens", ""));
    config.auth.open_metrics = true;
    let node = edge_node::start(config).await.expect("start");
    let mut stream = TcpStream::connect(node.http_addr).await.expect("connect");
    let head = "POST /v1/frames?camera=gate HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\n\
                content-length: 1000000\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("write");
    let mut told = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut told)).await;
    read.expect("in time").expect("answer and close");
    assert!(told.starts_with(b"HTTP/1.1 401 "), "and no 100");
    assert_eq!(support::get(&node, "/metrics").await.0, 200);
    node.shutdown().await;
}

#[tokio::test]
async fn https_serves_who_trusts_it() {
    let (ours, other) = (Authority::new(), Authority::new());
    let dir = tempfile::tempdir().expect("dir");
    let (cert, key) = ours.sign();
    let mut config = config(dir.path(), free_addr().await);
    config.tls = Tls {
        cert: Some(write(dir.path(), "cert.pem", &cert)),
        key: Some(write(dir.path(), "cert.key", &key)),
    };
    let node = edge_node::start(config).await.expect("start");
    let url = |scheme| format!("{scheme}://localhost:{}/v1/frames", node.http_addr.port());
    let post = async |ca: &str, scheme| {
        let root = reqwest::Certificate::from_pem(ca.as_bytes()).expect("PEM");
        let client = Client::builder()
            .tls_certs_only([root])
            .resolve("localhost", node.http_addr)
            .build()
            .expect("client");
        let request = client.post(url(scheme)).query(&[("camera", "gate")]);
        frame(request)
            .send()
            .await
            .map(|answer| answer.status().as_u16())
    };
    post(&other.pem, "https")
        .await
        .expect_err("another authority");
    post(&ours.pem, "http")
        .await
        .expect_err("no HTTP without TLS");
    assert_eq!(post(&ours.pem, "https").await.expect("HTTPS"), 202);
    node.shutdown().await;
}

/// A node whose cloud is called by the name in the certificates made here.
fn calling(dir: &Path, cloud: &Cloud, ca: &str) -> Config {
    let mut config = config(dir, cloud.addr);
    config.uplink.endpoint = format!("https://localhost:{}", cloud.addr.port());
    config.uplink.tls.ca = Some(write(dir, "ca.pem", ca));
    config.uplink.token_file = Some(write(dir, "token", "pw_first\n"));
    config
}

async fn last_error(node: &Running) -> String {
    let (_, status) = support::get(node, "/v1/status").await;
    status["uplink"]["last_error"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn uplink_neither_frame_nor_token_goes_to_a_cloud_without_the_right_certificate() {
    let (ours, other) = (Authority::new(), Authority::new());
    let impostor = Cloud::start_tls(server(&other)).await;
    let plain = Cloud::start(|_, _| Verdict::Accept).await;
    for cloud in [&impostor, &plain] {
        let dir = tempfile::tempdir().expect("dir");
        let node = edge_node::start(calling(dir.path(), cloud, &ours.pem));
        let node = node.await.expect("start");
        let id = post_one(&node).await;
        eventually("the link says why it is down", async || {
            !last_error(&node).await.is_empty()
        })
        .await;
        assert_eq!(support::state(&node, &id).await, "spooled");
        node.shutdown().await;
        assert!(cloud.authorizations().is_empty() && cloud.hellos().is_empty());
        assert!(cloud.frames().is_empty());
    }
}

#[tokio::test]
async fn uplink_the_token_goes_along_and_is_read_again_at_each_connect() {
    let ours = Authority::new();
    let dir = tempfile::tempdir().expect("dir");
    let cloud = Cloud::start_tls(server(&ours)).await;
    let config = calling(dir.path(), &cloud, &ours.pem);
    let token = config.uplink.token_file.clone().expect("named");
    let node = edge_node::start(config.clone()).await.expect("start");
    post_one(&node).await;
    eventually("the frame arrives", async || cloud.frames().len() == 1).await;
    assert_eq!(cloud.authorizations(), [Some("Bearer pw_first".to_owned())]);
    node.shutdown().await;

    std::fs::write(&token, "not a token").expect("file");
    let node = edge_node::start(config).await.expect("start");
    eventually("the file is told to be wrong", async || {
        last_error(&node).await.contains("token is not one token")
    })
    .await;
    std::fs::write(&token, "pw_second").expect("file");
    eventually("the new token is used", async || {
        cloud.authorizations().last() == Some(&Some("Bearer pw_second".to_owned()))
    })
    .await;
    node.shutdown().await;
}

#[tokio::test]
async fn uplink_mutual_tls_needs_this_nodes_certificate() {
    let ours = Authority::new();
    let dir = tempfile::tempdir().expect("dir");
    let mutual = server(&ours).client_ca_root(Certificate::from_pem(&ours.pem));
    let cloud = Cloud::start_tls(mutual).await;
    let mut config = calling(dir.path(), &cloud, &ours.pem);
    let node = edge_node::start(config.clone()).await.expect("start");
    let id = post_one(&node).await;
    eventually("the link is down, and says why", async || {
        last_error(&node).await.contains("certificate")
    })
    .await;
    assert_eq!(support::state(&node, &id).await, "spooled");
    node.shutdown().await;
    assert!(cloud.hellos().is_empty());

    // One that another authority has signed is not accepted, and the link says so.
    let (cert, key) = Authority::new().sign();
    config.uplink.tls = UplinkTls {
        cert: Some(write(dir.path(), "strange.pem", &cert)),
        key: Some(write(dir.path(), "strange.key", &key)),
        ..config.uplink.tls
    };
    let node = edge_node::start(config.clone()).await.expect("start");
    eventually("the link names the certificate", async || {
        last_error(&node).await.contains("uplink.tls.cert")
    })
    .await;
    node.shutdown().await;
    assert!(cloud.hellos().is_empty());

    let (cert, key) = ours.sign();
    config.uplink.tls = UplinkTls {
        cert: Some(write(dir.path(), "node.pem", &cert)),
        key: Some(write(dir.path(), "node.key", &key)),
        ..config.uplink.tls
    };
    let node = edge_node::start(config).await.expect("start");
    eventually("the frame arrives", async || cloud.frames().len() == 1).await;
    node.shutdown().await;
}

#[test]
fn what_other_machines_reach_wants_tls_and_tokens() {
    let load = |settings: &[(&str, &str)]| {
        let flags: Vec<_> = settings
            .iter()
            .map(|&(k, v)| (k.into(), v.into()))
            .collect();
        Config::load(None, [], &flags).map_err(|error| error.to_string())
    };
    let exposed = ("http.listen", "0.0.0.0:8080");
    let (cert, key) = (("tls.cert", "c"), ("tls.key", "k"));
    let tokens = ("auth.tokens", "t");
    let away = ("uplink.endpoint", "http://cloud.example:50051");
    for (settings, part) in [
        (
            &[exposed][..],
            "http.listen is 0.0.0.0:8080, which other machines",
        ),
        (&[exposed, tokens], "http.listen"),
        (&[exposed, cert, key], "http.listen"),
        (&[("http.listen", "[::]:8080")], "http.listen"),
        (&[cert], "tls.key goes with tls.cert"),
        (&[away], "uplink.endpoint is \"http://cloud.example:50051\""),
        (
            &[("uplink.endpoint", "http://10.0.0.1:1")],
            "uplink.endpoint",
        ),
        (&[("uplink.tls.ca", "c")], "uplink.tls is for an endpoint"),
        (
            &[("uplink.endpoint", "https://c:1"), ("uplink.tls.cert", "c")],
            "uplink.tls.key goes with",
        ),
    ] {
        let error = load(settings).expect_err(part);
        assert!(error.contains(part) && !error.contains('\n'), "{error}");
    }
    for settings in [
        &[exposed, cert, key, tokens][..],
        &[exposed, away, ("insecure", "true")],
        &[("http.listen", "127.0.0.2:8080")],
        &[("http.listen", "[::1]:8080")],
        &[("uplink.endpoint", "http://localhost:50051")],
        &[("uplink.endpoint", "http://[::1]:50051")],
        &[("uplink.endpoint", "https://cloud.example:50051")],
    ] {
        load(settings).expect("a configuration");
    }
}
