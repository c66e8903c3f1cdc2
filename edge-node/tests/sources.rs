//! Frames that a node fetches by itself: each file once, streams for as long as they run.

mod support;

use std::{
    collections::HashSet,
    convert::Infallible,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use bytes::Bytes;
use edge_node::{Config, Running, config::Source};
use image::{DynamicImage, ImageFormat, RgbImage};
use serde_json::Value;
use support::{Cloud, Verdict, config, eventually, metric};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

fn picture(format: ImageFormat, red: u8) -> Vec<u8> {
    let image = RgbImage::from_pixel(32, 32, image::Rgb([red, 0, 0]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    DynamicImage::from(image)
        .write_to(&mut bytes, format)
        .expect("an image");
    bytes.into_inner()
}

fn jpeg(red: u8) -> Vec<u8> {
    picture(ImageFormat::Jpeg, red)
}

fn source(camera: &str) -> Source {
    Source {
        camera: camera.into(),
        ..Source::default()
    }
}

async fn status(node: &Running) -> Vec<Value> {
    let (_, status) = support::get(node, "/v1/status").await;
    status["sources"].as_array().expect("sources").clone()
}

/// Waits until a source has taken and refused so many frames since the node started.
async fn fares(node: &Running, index: usize, taken: u64, refused: u64) {
    eventually(&format!("{taken} taken, {refused} refused"), async || {
        let status = &status(node).await[index];
        (&status["taken"], &status["refused"]) == (&taken.into(), &refused.into())
    })
    .await;
}

fn put(folder: &Path, name: &str, bytes: &[u8]) {
    // As a careful camera does: under another name until it is whole.
    let fresh = folder.join(format!(".{name}"));
    fs::write(&fresh, bytes).expect("a file");
    fs::rename(fresh, folder.join(name)).expect("a file");
}

#[tokio::test]
async fn files_are_taken_once_also_over_a_restart_and_again_when_they_change() {
    let dir = tempfile::tempdir().expect("dir");
    let cloud = Cloud::start(|_, _| Verdict::Accept).await;
    let (gate, yard) = (dir.path().join("gate"), dir.path().join("yard"));
    fs::create_dir(&gate).expect("a folder");
    let mut config = config(dir.path(), cloud.addr);
    config.sources = [("gate", &gate), ("yard", &yard)]
        .map(|(camera, folder)| Source {
            folder: Some(folder.clone()),
            ..source(camera)
        })
        .to_vec();
    put(&gate, "one.jpg", &jpeg(200));
    put(&gate, "two.PNG", &picture(ImageFormat::Png, 200));
    put(&gate, "notes.txt", b"no image");
    put(&gate, "broken.jpg", &jpeg(200)[..100]);
    fs::create_dir(gate.join("folder.jpg")).expect("a folder");
    let node = edge_node::start(config.clone()).await.expect("start");
    fares(&node, 0, 2, 1).await;
    let refusal = status(&node).await[0]["refusal"].to_string();
    assert!(
        refusal.contains("broken.jpg: JPEG is truncated"),
        "{refusal}"
    );
    // A folder that is not there yet is waited for.
    let told = &status(&node).await[1];
    assert_eq!(
        (&told["camera"], &told["up"]),
        (&"yard".into(), &false.into())
    );
    assert!(
        told["error"]
            .as_str()
            .expect("an error")
            .contains("cannot be read"),
        "{told}"
    );
    fs::create_dir(&yard).expect("a folder");
    put(&yard, "one.jpg", &jpeg(100));
    fares(&node, 1, 1, 0).await;
    assert_eq!(metric(&node, "edge_node_sources_up").await, 2.0);
    node.shutdown().await;

    let node = edge_node::start(config.clone()).await.expect("start");
    put(&gate, "three.jpg", &jpeg(100));
    fares(&node, 0, 1, 0).await;
    put(&gate, "one.jpg", &jpeg(10));
    fares(&node, 0, 2, 0).await;
    put(&gate, "broken.jpg", &jpeg(10));
    fares(&node, 0, 3, 0).await;
    // A file that went and came back is another.
    fs::remove_file(gate.join("three.jpg")).expect("removed");
    fares(&node, 0, 3, 0).await;
    node.shutdown().await;

    let node = edge_node::start(config).await.expect("start");
    put(&gate, "three.jpg", &jpeg(100));
    fares(&node, 0, 1, 0).await;
    eventually("all are delivered", async || {
        support::backlog(&node).await == 0
    })
    .await;
    // A frame whose ack a stop forestalled is sent again, with its id.
    let frames = cloud.frames();
    let of = |camera| {
        let of = frames.iter().filter(|frame| frame.camera_id == camera);
        of.map(|frame| &frame.frame_id)
            .collect::<HashSet<_>>()
            .len()
    };
    assert_eq!((of("gate"), of("yard")), (6, 1));
    node.shutdown().await;
}

#[tokio::test]
async fn files_that_cannot_be_read_or_are_no_images_are_named() {
    let dir = tempfile::tempdir().expect("dir");
    let folder = dir.path().join("gate");
    fs::create_dir(&folder).expect("a folder");
    let mut config = config(dir.path(), support::free_addr().await);
    config.sources = vec![Source {
        folder: Some(folder.clone()),
        ..source("gate")
    }];
    let node = edge_node::start(config).await.expect("start");
    let refusal = async |sentence: &str| {
        eventually(sentence, async || {
            let refusal = &status(&node).await[0]["refusal"];
            refusal
                .as_str()
                .is_some_and(|told| told.starts_with(sentence))
        })
        .await;
    };
    put(&folder, "notes.jpg", b"no image, but a text");
    refusal("notes.jpg: it is no image, PNG, JPEG, WebP and PPM are taken").await;
    put(&folder, "moving.png", b"GIF89a and so on");
    refusal("moving.png: it is image/gif, PNG, JPEG, WebP and PPM are taken").await;
    // A link to itself, since who runs the tests may read everything.
    std::os::unix::fs::symlink("loop.jpg", folder.join("loop.jpg")).expect("a link");
    refusal("loop.jpg: it cannot be read: ").await;
    // Told and counted once, and others go on.
    put(&folder, "one.jfif", &jpeg(100));
    fares(&node, 0, 1, 3).await;
    put(&folder, "two.jpg", &jpeg(100));
    fares(&node, 0, 2, 3).await;
    node.shutdown().await;
}

#[tokio::test]
async fn a_full_spool_keeps_files_waiting() {
    let dir = tempfile::tempdir().expect("dir");
    let folder = dir.path().join("gate");
    fs::create_dir(&folder).expect("a folder");
    let closed = support::free_addr().await;
    let mut config = config(dir.path(), closed);
    config.spool.max_bytes = 1 << 20;
    config.originals_share = 1.0;
    config.sources = vec![Source {
        folder: Some(folder.clone()),
        ..source("gate")
    }];
    // Six originals of noise of 128 KiB do not fit.
    for index in 0..6_u32 {
        let noise = |x, y: u32| ((x * 7919 + y * 104_729 + index * 31) ^ (x * y)) as u8;
        let image = RgbImage::from_fn(210, 210, |x, y| {
            image::Rgb([noise(x, y), noise(y, x), noise(x + 9, y)])
        });
        image
            .save(folder.join(format!("{index}.png")))
            .expect("an image");
    }
    let node = edge_node::start(config.clone()).await.expect("start");
    eventually("the spool is full", async || {
        let told = status(&node).await[0]["error"].clone();
        told.as_str()
            .is_some_and(|error| error.contains("spool is full"))
    })
    .await;
    assert!(support::backlog(&node).await < 6);
    node.shutdown().await;

    let cloud = Cloud::start_at(closed, 8, |_, _| Verdict::Accept).await;
    let node = edge_node::start(config).await.expect("start");
    eventually("each arrives", async || cloud.frames().len() == 6).await;
    node.shutdown().await;
}

/// A camera that serves motion JPEG: each connection gets a frame and ends after the second.
#[derive(Clone)]
struct Camera {
    connections: Arc<AtomicUsize>,
}

impl Camera {
    async fn start() -> (Self, String) {
        let camera = Self {
            connections: Arc::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let addr = listener.local_addr().expect("an address");
        let router = Router::new()
            .route("/live", get(live))
            .route("/locked", get(locked))
            .route(
                "/snapshot.jpg",
                get(async || ([(header::CONTENT_TYPE, "image/jpeg")], jpeg(200))),
            )
            .route("/fast", get(fast))
            .with_state(camera.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (camera, format!("http://{addr}"))
    }
}

fn part(red: u8) -> Bytes {
    let jpeg = jpeg(red);
    let head = format!(
        "--frame\r\ncontent-type: image/jpeg\r\ncontent-length: {}\r\n\r\n",
        jpeg.len()
    );
    [head.as_bytes(), &jpeg, b"\r\n"].concat().into()
}

fn multipart(parts: mpsc::Receiver<Bytes>) -> Response {
    let kind = [(
        header::CONTENT_TYPE,
        "multipart/x-mixed-replace; boundary=frame",
    )];
    let parts = ReceiverStream::new(parts).map(Ok::<_, Infallible>);
    (kind, Body::from_stream(parts)).into_response()
}

async fn live(State(camera): State<Camera>) -> Response {
    camera.connections.fetch_add(1, Ordering::Relaxed);
    let (sender, parts) = mpsc::channel(4);
    let bytes = part(200);
    // In two pieces, as networks do.
    let (first, second) = (bytes.slice(..50), bytes.slice(50..));
    for piece in [first, second] {
        sender.send(piece).await.expect("room");
    }
    multipart(parts)
}

async fn locked(headers: HeaderMap) -> Response {
    // user:secret
    if headers
        .get(header::AUTHORIZATION)
        .is_none_or(|value| value != "Basic dXNlcjpzZWNyZXQ=")
    {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    jpeg(200).into_response()
}

async fn fast() -> Response {
    let (sender, parts) = mpsc::channel(1);
    tokio::spawn(async move { while sender.send(part(200)).await.is_ok() {} });
    multipart(parts)
}

fn stream(camera: &str, url: String, rate: Option<f64>) -> Source {
    Source {
        url: Some(url),
        rate,
        ..source(camera)
    }
}

#[tokio::test]
async fn streams_are_followed_and_opened_again() {
    let dir = tempfile::tempdir().expect("dir");
    let cloud = Cloud::start(|_, _| Verdict::Accept).await;
    let (camera, url) = Camera::start().await;
    let mut config = config(dir.path(), cloud.addr);
    config.sources = vec![
        stream("live", format!("{url}/live"), None),
        stream("snapshot", format!("{url}/snapshot.jpg"), Some(20.0)),
        stream("locked", format!("{url}/locked"), Some(20.0)),
        stream(
            "nowhere",
            format!("http://{}/", support::free_addr().await),
            None,
        ),
        stream("shut", format!("{url}/locked"), Some(20.0)),
    ];
    let login = dir.path().join("login");
    fs::write(&login, "user:wrong\n").expect("a file");
    config.sources[2].login_file = Some(login.clone());
    let node = edge_node::start(config).await.expect("start");
    let error = async |index: usize| status(&node).await[index]["error"].to_string();
    eventually("the login is refused", async || {
        error(2)
            .await
            .contains("it answers 401 Unauthorized to the login in ")
    })
    .await;
    eventually("a login is missing", async || {
        error(4).await.contains("it needs a login, see login_file")
    })
    .await;
    fs::write(&login, "user:secret\n").expect("a file");
    eventually("each camera has sent", async || {
        let status = status(&node).await;
        let taken = |index: usize| status[index]["taken"].as_u64().expect("a count");
        (0..3).all(|index| taken(index) >= 3)
    })
    .await;
    assert!(camera.connections.load(Ordering::Relaxed) >= 3);
    eventually("it does not answer", async || {
        error(3).await.contains("it does not answer")
    })
    .await;
    assert!(metric(&node, "edge_node_source_failures_total").await >= 2.0);
    eventually("frames arrive", async || {
        let frames = cloud.frames();
        ["live", "snapshot", "locked"]
            .iter()
            .all(|camera| frames.iter().any(|f| f.camera_id == *camera))
    })
    .await;
    node.shutdown().await;
}

#[tokio::test]
async fn of_a_stream_that_is_too_fast_frames_are_skipped_and_counted() {
    let dir = tempfile::tempdir().expect("dir");
    let cloud = Cloud::start(|_, _| Verdict::Accept).await;
    let (_, url) = Camera::start().await;
    let mut config = config(dir.path(), cloud.addr);
    config.sources = vec![stream("fast", format!("{url}/fast"), Some(4.0))];
    let node = edge_node::start(config).await.expect("start");
    eventually("some are taken", async || {
        status(&node).await[0]["taken"].as_u64() >= Some(4)
    })
    .await;
    let skipped = metric(&node, "edge_node_source_frames_total{outcome=\"skipped\"}").await;
    let taken = metric(&node, "edge_node_source_frames_total{outcome=\"taken\"}").await;
    assert!(skipped > taken, "{skipped} skipped, {taken} taken");
    // A shutdown does not wait for a stream that never ends.
    tokio::time::timeout(Duration::from_secs(15), node.shutdown())
        .await
        .expect("it stops");
}

#[test]
fn slow_snapshots_and_paths_with_spaces_are_allowed() {
    let sources = vec![
        stream(
            "a",
            "http://192.0.2.7/cam pictures/now.jpg".into(),
            Some(0.0167),
        ),
        stream("b", "rtsp://192.0.2.7/stream 1".into(), Some(0.00002)),
    ];
    let config = Config {
        sources,
        ..Config::default()
    };
    config.check().expect("allowed");
}

#[test]
fn sources_that_cannot_be_are_told_in_a_sentence() {
    let folder = || Source {
        folder: Some("in".into()),
        ..source("gate")
    };
    let url = |url: &str| stream("gate", url.into(), None);
    let cases = [
        (
            vec![source("gate")],
            "must have either a folder or a url that begins with",
        ),
        (
            vec![url("ftp://camera/")],
            "must have either a folder or a url",
        ),
        (vec![url("http:///live")], "names no host"),
        (vec![url("rtsp://")], "names no host"),
        (
            vec![url("http://my camera/live")],
            "invalid international domain name",
        ),
        (
            vec![url("http://user:secret@camera/")],
            "put it into a file and name that with login_file",
        ),
        (vec![folder(), folder()], "name the camera \"gate\" twice"),
        (
            vec![Source {
                camera: "a b".into(),
                ..folder()
            }],
            "allowed are 1 to 64 characters",
        ),
        (
            vec![Source {
                rate: Some(0.0),
                ..folder()
            }],
            "sources.rate",
        ),
        (
            vec![Source {
                ca: Some("ca.pem".into()),
                ..url("http://camera/")
            }],
            "begins with https://",
        ),
        (
            vec![Source {
                login_file: Some("login".into()),
                ..folder()
            }],
            "which is for a url",
        ),
    ];
    for (sources, sentence) in cases {
        let config = Config {
            sources: sources.clone(),
            ..Config::default()
        };
        let error = config.check().expect_err("refused").to_string();
        assert!(error.contains(sentence), "{sources:?}: {error}");
    }
}
