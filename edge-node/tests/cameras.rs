//! Cameras as they are: headers that are none, logins by Digest, frames that are cut, proxies on the way.

mod support;

use std::{
    convert::Infallible,
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Body, http::header, routing::get};
use bytes::Bytes;
use edge_node::{Running, config::Source};
use http_auth::{PasswordClient, PasswordParams, parse_challenges};
use serde_json::Value;
use support::{Cloud, Verdict, config, eventually};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    sync::mpsc,
};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

fn frame(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../media/tests/mjpeg");
    fs::read(folder.join(name)).expect("a frame")
}

fn stream(camera: &str, url: String, rate: Option<f64>) -> Source {
    Source {
        camera: camera.into(),
        url: Some(url),
        rate,
        ..Source::default()
    }
}

async fn status(node: &Running) -> Vec<Value> {
    let (_, status) = support::get(node, "/v1/status").await;
    status["sources"].as_array().expect("sources").clone()
}

async fn fares(node: &Running, taken: u64, refused: u64) {
    eventually(&format!("{taken} taken, {refused} refused"), async || {
        let status = &status(node).await[0];
        (&status["taken"], &status["refused"]) == (&taken.into(), &refused.into())
    })
    .await;
}

/// Answers each request, given its head, with these bytes; gives the address.
async fn serve(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let addr = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (mut head, mut piece) = (Vec::new(), [0; 4096]);
            while !head.windows(4).any(|four| four == b"\r\n\r\n") {
                match socket.read(&mut piece).await {
                    Ok(read @ 1..) => head.extend_from_slice(&piece[..read]),
                    _ => break,
                }
            }
            let answer = answer(&String::from_utf8_lossy(&head));
            // A client may leave before all is written.
            socket.write_all(&answer).await.ok();
        }
    });
    format!("http://{addr}")
}

#[tokio::test]
async fn headers_that_browsers_forgive_are_forgiven() {
    let heads: [&[u8]; 8] = [
        b"HTTP/1.0 200 OK\r\nno header at all\r\ncontent-type: image/jpeg\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nHTTP/1.0 200 OK\r\ncontent-type: image/jpeg\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type : image/jpeg\r\nconnection : close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nserver: a\r\n camera\r\nconnection: close\r\n\r\n",
        b"HTTP/1.0 200 OK\ncontent-type: image/jpeg\n\n",
        b"HTTP/1.0 200\r\nserver: caf\xe9\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nbad name\x01: x\r\n: nameless\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nServer:\r\nPragma:no-cache\r\n\r\n",
    ];
    let dir = tempfile::tempdir().expect("dir");
    let cloud = Cloud::start(|_, _| Verdict::Accept).await;
    let mut config = config(dir.path(), cloud.addr);
    for (index, head) in heads.into_iter().enumerate() {
        let url = serve(move |_| [head, &frame("frame-0.jpg")].concat()).await;
        let camera = format!("camera-{index}");
        config.sources.push(stream(&camera, url, Some(20.0)));
    }
    let node = edge_node::start(config).await.expect("start");
    for (index, head) in heads.iter().enumerate() {
        let head = String::from_utf8_lossy(head);
        eventually(&format!("a frame behind {head:?}"), async || {
            status(&node).await[index]["taken"].as_u64() >= Some(1)
        })
        .await;
    }
    node.shutdown().await;
}

#[tokio::test]
async fn an_address_that_has_something_else_is_told_so() {
    let page = b"HTTP/1.0 200 OK\r\ncontent-type: text/html\r\n\r\n<html>log in</html>";
    let url = serve(move |_| page.to_vec()).await;
    let dir = tempfile::tempdir().expect("dir");
    let mut config = config(dir.path(), support::free_addr().await);
    config.sources = vec![stream("gate", url, None)];
    let node = edge_node::start(config).await.expect("start");
    eventually("it is told", async || {
        let error = status(&node).await[0]["error"].to_string();
        error.contains("without a JPEG, and says that it is") && error.contains("text/html")
    })
    .await;
    node.shutdown().await;
}

/// A camera that is looked after by one login and one nonce at a time.
struct Locked {
    challenges: Vec<&'static str>,
    nonce: u32,
    /// Answers under this nonce.
    answers: u32,
    /// The values of `nc` that were taken, and how often a login was asked for.
    log: Vec<String>,
}

impl Locked {
    const PATH: &str = "/live/a%20b?channel=1";

    fn answer(&mut self, head: &str) -> Vec<u8> {
        assert!(head.starts_with(&format!("GET {} ", Self::PATH)), "{head}");
        let given = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("authorization").then_some(value)
        });
        if self.answers < 3 && given.is_some_and(|given| self.opens(given)) {
            self.answers += 1;
            let head = b"HTTP/1.0 200 OK\r\ncontent-type: image/jpeg\r\n\r\n";
            return [head, &frame("frame-0.jpg")[..]].concat();
        }
        self.nonce += 1;
        self.answers = 0;
        self.log.push("asked".into());
        let nonce = self.nonce;
        let offers = self.challenges.iter().map(|challenge| {
            format!("WWW-Authenticate: {challenge}, nonce=\"n{nonce}\", stale=true\r\n")
        });
        let offers: String = offers.collect();
        format!("HTTP/1.1 401 Unauthorized\r\n{offers}content-length: 0\r\n\r\n").into_bytes()
    }

    /// Whether the answer is the one that the first of the challenges has.
    fn opens(&mut self, given: &str) -> bool {
        let challenges = parse_challenges(given).expect("an answer by Digest");
        let value = |name: &str| {
            let found = challenges[0].params.iter().find(|(key, _)| *key == name);
            found
                .map(|(_, value)| value.to_unescaped())
                .unwrap_or_default()
        };
        assert_eq!(value("username"), "admin");
        assert_eq!(value("uri"), Self::PATH);
        if value("nonce") != format!("n{}", self.nonce) {
            return false;
        }
        let first = format!("{}, nonce=\"n{}\"", self.challenges[0], self.nonce);
        let PasswordClient::Digest(mut client) =
            PasswordClient::try_from(&first[..]).expect("ours")
        else {
            panic!("{first} is not Digest");
        };
        let params = PasswordParams {
            username: "admin",
            password: "se:cret",
            uri: Self::PATH,
            method: "GET",
            body: None,
        };
        let mut right = String::new();
        for _ in 0..=self.answers {
            right = client
                .respond_with_testing_cnonce(&params, &value("cnonce"))
                .expect("an answer");
        }
        self.log.push(value("nc"));
        given == right
    }
}

#[tokio::test]
async fn cameras_that_want_digest_are_logged_in_to_again_when_a_nonce_is_used_up() {
    let offers: [Vec<&str>; 4] = [
        vec!["Digest realm=\"camera\", qop=\"auth\", algorithm=MD5, opaque=\"x\""],
        vec!["Digest realm=\"camera\", qop=\"auth\", algorithm=SHA-256"],
        vec![
            "Digest realm=\"camera\", qop=\"auth,auth-int\", algorithm=SHA-256",
            "Digest realm=\"camera\", qop=\"auth\"",
        ],
        // As before RFC 2617.
        vec!["Digest realm=\"camera\""],
    ];
    let dir = tempfile::tempdir().expect("dir");
    let cloud = Cloud::start(|_, _| Verdict::Accept).await;
    let mut config = config(dir.path(), cloud.addr);
    let login = dir.path().join("login");
    fs::write(&login, "admin:se:cret\n").expect("a file");
    let mut cameras = Vec::new();
    for (index, challenges) in offers.into_iter().enumerate() {
        let camera = Arc::new(Mutex::new(Locked {
            challenges,
            nonce: 0,
            answers: 0,
            log: Vec::new(),
        }));
        cameras.push(Arc::clone(&camera));
        let url = serve(move |head| camera.lock().expect("unbroken").answer(head)).await;
        // A space in a path is sent as browsers do.
        let url = format!("{url}/live/a b?channel=1");
        config.sources.push(Source {
            login_file: Some(login.clone()),
            ..stream(&format!("camera-{index}"), url, Some(50.0))
        });
    }
    let node = edge_node::start(config).await.expect("start");
    for (index, camera) in cameras.iter().enumerate() {
        eventually(&format!("camera {index} sends"), async || {
            status(&node).await[index]["taken"].as_u64() >= Some(4)
        })
        .await;
        let log = camera.lock().expect("unbroken").log.clone();
        let begin = match index {
            3 => ["asked", "", "", "", "asked", ""],
            _ => [
                "asked", "00000001", "00000002", "00000003", "asked", "00000001",
            ],
        };
        assert_eq!(log[..6], begin, "camera {index}");
    }
    node.shutdown().await;
}

#[tokio::test]
async fn of_a_stream_a_frame_that_is_cut_goes_alone_and_it_is_told() {
    let (sender, parts) = mpsc::channel::<Bytes>(1);
    let parts = Arc::new(Mutex::new(Some(parts)));
    let live = move || {
        let parts = parts.lock().expect("unbroken").take();
        async move {
            let kind = "multipart/x-mixed-replace; boundary=frame";
            let parts = parts.map(ReceiverStream::new);
            let body = parts.map(|parts| Body::from_stream(parts.map(Ok::<_, Infallible>)));
            ([(header::CONTENT_TYPE, kind)], body.unwrap_or_default())
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let router = Router::new().route("/", get(live));
    tokio::spawn(async move { axum::serve(listener, router).await });

    let dir = tempfile::tempdir().expect("dir");
    let cloud = Cloud::start(|_, _| Verdict::Accept).await;
    let mut config = config(dir.path(), cloud.addr);
    config.sources = vec![stream("gate", url, None)];
    let node = edge_node::start(config).await.expect("start");
    let part = |name: &str| {
        let jpeg = frame(name);
        let length = jpeg.len();
        let head =
            format!("--frame\r\ncontent-type: image/jpeg\r\ncontent-length: {length}\r\n\r\n");
        Bytes::from([head.as_bytes(), &jpeg, b"\r\n"].concat())
    };
    let mut taken = 0;
    for index in 0..8 {
        let name = format!("frame-{index}.jpg");
        if index == 3 {
            sender.send(part("frame-3-cut.jpg")).await.expect("room");
            continue;
        }
        // A frame that was cut short is recognized when the next one begins.
        let part = part(&name);
        let (first, second) = (part.slice(..400), part.slice(400..));
        sender.send(first).await.expect("room");
        fares(&node, taken, (index > 3).into()).await;
        sender.send(second).await.expect("room");
        taken += 1;
        fares(&node, taken, (index > 3).into()).await;
    }
    let refusal = status(&node).await[0]["refusal"].clone();
    let refusal = refusal.as_str().expect("a sentence");
    assert!(refusal.starts_with("JPEG is truncated"), "{refusal}");
    eventually("all arrive", async || cloud.frames().len() == 7).await;
    for frame in cloud.frames() {
        assert_eq!((frame.width, frame.height), (96, 64));
    }
    drop(sender);
    node.shutdown().await;
}

#[tokio::test]
async fn a_proxy_of_the_environment_is_named_and_this_machine_reached_without() {
    let proxy = serve(|head| {
        assert!(head.starts_with("GET http://192.0.2.7/live "), "{head}");
        b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n".to_vec()
    })
    .await;
    let snapshot = [b"HTTP/1.0 200 OK\r\n\r\n", &frame("frame-0.jpg")[..]].concat();
    let here = serve(move |_| snapshot.clone()).await;
    let dir = tempfile::tempdir().expect("dir");
    // Writes the programs.
    config(dir.path(), ([127, 0, 0, 1], 1).into());
    let settings = format!(
        "[http]\nlisten = \"127.0.0.1:0\"\n[spool]\npath = \"{0}/spool.sqlite\"\n\
         [uplink]\nendpoint = \"http://127.0.0.1:1\"\n\
         [programs]\ncompress = \"{0}/compress.nqe\"\nclassify = \"{0}/classify.nqe\"\n\
         [[sources]]\ncamera = \"far\"\nurl = \"http://192.0.2.7/live\"\n\
         [[sources]]\ncamera = \"near\"\nurl = \"{here}/\"\nrate = 0.0167\n",
        dir.path().display()
    );
    let file = dir.path().join("edge-node.toml");
    fs::write(&file, settings).expect("a file");
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_edge-node"))
        .arg("--config")
        .arg(&file)
        .env("http_proxy", &proxy)
        .env_remove("no_proxy")
        .env_remove("NO_PROXY")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("run");
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("stdout"));
    stdout.read_line(&mut line).await.expect("a line");
    let http = line.trim_end().strip_prefix("listening http=");
    let http = http.expect("an address").to_owned();
    let sources = async || {
        let url = format!("http://{http}/v1/status");
        let answer = testing::client().get(url).send().await.expect("an answer");
        support::answer(answer).await.1["sources"].clone()
    };
    let told = format!("it answers 403 Forbidden (through the proxy {proxy}, which");
    eventually("the proxy is named", async || {
        let error = sources().await[0]["error"].clone();
        error.as_str().is_some_and(|error| error.starts_with(&told))
    })
    .await;
    eventually("the one here is taken from", async || {
        sources().await[1]["taken"] == 1
    })
    .await;
    child.kill().await.expect("it ends");
}
