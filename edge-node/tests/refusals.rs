//! Bad input is told in one sentence with the right status, and leaves nothing behind.

mod support;

use std::{fs, io::Cursor, path::Path};

use edge_node::Running;
use image::{DynamicImage, ImageFormat, RgbImage};
use reqwest::RequestBuilder;
use sqlx::Connection as _;
use support::{Cloud, Verdict, answer, backlog, config, get, plain, post, post_raw};

fn photo(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([(x * 5) as u8, (y * 3) as u8, (x ^ y) as u8])
    })
}

fn file(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image
        .into()
        .write_to(&mut out, format)
        .expect("an encoded image");
    out.into_inner()
}

/// A camera's request.
fn camera_jpeg(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../media/tests/jpegs");
    fs::read(folder.join(name).with_extension("jpg")).expect("a file")
}

fn cut(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() / 2);
    bytes
}

/// A PNG of 64 bytes that claims a size; its header's checksum is right.
fn png_claiming(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = file(photo(1, 1), ImageFormat::Png);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let mut crc = !0u32;
    for &byte in &bytes[12..29] {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    bytes[29..33].copy_from_slice(&(!crc).to_be_bytes());
    bytes
}

fn image_of(node: &Running, kind: &str, body: Vec<u8>) -> RequestBuilder {
    post(node, "camera=c")
        .header("content-type", kind)
        .body(body)
}

#[tokio::test]
async fn every_format_is_taken() {
    let dir = tempfile::tempdir().expect("dir");
    let cloud = Cloud::start(|_, _| Verdict::Accept).await;
    let node = edge_node::start(config(dir.path(), cloud.addr))
        .await
        .expect("start");
    let gray16 = DynamicImage::from(photo(70, 40)).into_luma16();
    let alpha = DynamicImage::from(photo(70, 40)).into_rgba8();
    let cases = [
        ("image/png", file(photo(70, 40), ImageFormat::Png)),
        ("image/png", file(gray16, ImageFormat::Png)),
        ("image/webp", file(alpha, ImageFormat::WebP)),
        ("image/jpeg", file(photo(70, 40), ImageFormat::Jpeg)),
        ("Image/JPEG; q=1", file(photo(70, 40), ImageFormat::Jpeg)),
        ("image/jpg", file(photo(70, 40), ImageFormat::Jpeg)),
        ("image/pjpeg", file(photo(70, 40), ImageFormat::Jpeg)),
        ("IMAGE/X-PNG", file(photo(70, 40), ImageFormat::Png)),
        (
            "image/x-portable-pixmap",
            file(photo(70, 40), ImageFormat::Pnm),
        ),
    ];
    for (kind, body) in cases {
        let (status, body) =
            answer(image_of(&node, kind, body).send().await.expect("an answer")).await;
        assert_eq!(status, 202, "{kind}: {body}");
        assert_eq!((&body["width"], &body["patches"]), (&70.into(), &6.into()));
    }
    node.shutdown().await;
}

#[tokio::test]
async fn jpegs_of_real_cameras_are_taken_upright() {
    let dir = tempfile::tempdir().expect("dir");
    let cloud = Cloud::start(|_, _| Verdict::Accept).await;
    let node = edge_node::start(config(dir.path(), cloud.addr))
        .await
        .expect("start");
    for (name, size) in [
        ("nodht", (96, 64)),
        ("planar", (96, 64)),
        ("planar-88", (88, 88)),
        ("noeoi", (96, 64)),
        ("dnl", (96, 64)),
        ("exif6", (64, 96)),
    ] {
        let (status, body) = answer(
            image_of(&node, "image/jpeg", camera_jpeg(name))
                .send()
                .await
                .expect("an answer"),
        )
        .await;
        assert_eq!(status, 202, "{name}: {body}");
        let told = (&body["width"], &body["height"]);
        assert_eq!(told, (&size.0.into(), &size.1.into()), "{name}");
    }
    node.shutdown().await;
}

#[tokio::test]
async fn bad_input_is_refused_and_nothing_is_stored() {
    let dir = tempfile::tempdir().expect("dir");
    let addr = support::free_addr().await;
    let mut config = config(dir.path(), addr);
    config.http.max_body_bytes = 100_000;
    config.http.max_pixels = 1_000_000;
    let node = edge_node::start(config).await.expect("start");
    let n = &node;
    let png = file(photo(70, 40), ImageFormat::Png);
    let jpeg = file(photo(70, 40), ImageFormat::Jpeg);
    let webp = file(photo(70, 40), ImageFormat::WebP);
    let ppm = file(photo(70, 40), ImageFormat::Pnm);
    let raw = |w, h, body| post_raw(n, "camera=c", w, h, body);
    let small = || plain(4, 4, [1, 2, 3]);
    let octets = |query: &str| {
        post(n, query)
            .header("content-type", "application/octet-stream")
            .body(small())
    };
    let cases: Vec<(&str, u16, &str, RequestBuilder)> = vec![
        (
            "no type",
            415,
            "content-type is missing",
            post(n, "camera=c").body(png.clone()),
        ),
        (
            "wrong type",
            415,
            "not supported",
            image_of(n, "image/gif", png.clone()),
        ),
        (
            "text",
            415,
            "not supported",
            image_of(n, "text/plain", b"hello".to_vec()),
        ),
        (
            "mismatch",
            415,
            "the body is PNG",
            image_of(n, "image/jpeg", png.clone()),
        ),
        (
            "unknown bytes",
            415,
            "no known image format",
            image_of(n, "image/png", vec![7; 99]),
        ),
        (
            "compressed",
            415,
            "content-encoding gzip is not supported",
            image_of(n, "image/png", png.clone()).header("content-encoding", "gzip"),
        ),
        ("empty", 400, "empty", image_of(n, "image/png", Vec::new())),
        (
            "cut PNG",
            400,
            "PNG",
            image_of(n, "image/png", cut(png.clone())),
        ),
        (
            "PNG header alone",
            400,
            "PNG",
            image_of(n, "image/png", png[..20].to_vec()),
        ),
        (
            "cut JPEG",
            400,
            "JPEG is truncated",
            image_of(n, "image/jpeg", cut(jpeg.clone())),
        ),
        (
            "JPEG of some rows",
            400,
            "JPEG is truncated",
            image_of(n, "image/jpeg", camera_jpeg("rows-eoi")),
        ),
        (
            "JPEG cut before its end marker",
            400,
            "JPEG is truncated",
            image_of(n, "image/jpeg", camera_jpeg("cut-eoi")),
        ),
        (
            "progressive JPEG without its last scans",
            400,
            "JPEG is truncated",
            image_of(n, "image/jpeg", camera_jpeg("prog-cut-eoi")),
        ),
        (
            "JPEG head alone",
            400,
            "JPEG is truncated",
            image_of(n, "image/jpeg", jpeg[..4].to_vec()),
        ),
        (
            "cut WebP",
            400,
            "WebP",
            image_of(n, "image/webp", cut(webp)),
        ),
        (
            "cut PPM",
            400,
            "PPM",
            image_of(n, "image/x-portable-pixmap", cut(ppm)),
        ),
        (
            "zero PPM",
            400,
            "",
            image_of(n, "image/x-portable-pixmap", b"P6 0 0 255\n".to_vec()),
        ),
        (
            "zero PNG",
            400,
            "",
            image_of(n, "image/png", png_claiming(0, 4)),
        ),
        (
            "PNG bomb",
            413,
            "100000x100000",
            image_of(n, "image/png", png_claiming(100_000, 100_000)),
        ),
        (
            "wide PNG",
            413,
            "16385x1",
            image_of(n, "image/png", png_claiming(16_385, 1)),
        ),
        (
            "many pixels",
            413,
            "1000000 pixels",
            image_of(n, "image/png", png_claiming(1001, 1000)),
        ),
        (
            "an image as raw",
            415,
            "application/octet-stream, but the body is JPEG",
            image_of(n, "application/octet-stream", jpeg.clone()),
        ),
        ("raw without size", 400, "x-frame-width", octets("camera=c")),
        (
            "raw mismatch",
            400,
            "60 bytes long, the body has 48",
            raw(4, 5, small()),
        ),
        ("raw zero", 400, "no pixels", raw(0, 4, small())),
        (
            "raw huge",
            413,
            "longer than 16384",
            raw(20_000, 4, small()),
        ),
        (
            "raw size not a number",
            400,
            "x-frame-width is not a number",
            octets("camera=c")
                .header("x-frame-width", "-4")
                .header("x-frame-height", "4"),
        ),
        (
            "unknown task",
            400,
            "compress, classify and both",
            octets("camera=c&task=colour"),
        ),
        ("bad camera", 400, "camera", octets("camera=a%2Fb")),
        (
            "long camera",
            400,
            "camera",
            octets(&format!("camera={}", "x".repeat(65))),
        ),
        ("no camera", 400, "camera is missing", octets("task=both")),
        (
            "unknown parameter",
            400,
            "colour",
            octets("camera=c&colour=red"),
        ),
        (
            "large body",
            413,
            "100000 bytes",
            raw(200, 200, vec![0; 120_000]),
        ),
    ];
    for (what, expected, word, request) in cases {
        let (status, body) = answer(request.send().await.expect("an answer")).await;
        assert_eq!(status, expected, "{what}: {body}");
        let sentence = body["error"]
            .as_str()
            .unwrap_or_else(|| panic!("{what}: {body}"));
        assert!(sentence.contains(word), "{what}: {sentence}");
        assert!(
            !sentence.contains('\n') && sentence.len() < 400,
            "{what}: {sentence}"
        );
    }
    // A body without a length, streamed beyond the limit.
    let chunks = (0..50).map(|_| Ok::<_, std::io::Error>(vec![0u8; 10_000]));
    let stream = reqwest::Body::wrap_stream(tokio_stream::iter(chunks));
    let request = post(n, "camera=c")
        .header("content-type", "image/png")
        .body(stream);
    if let Ok(response) = request.send().await {
        assert_eq!(answer(response).await.0, 413);
    }
    assert_eq!(backlog(n).await, 0, "nothing is stored");
    assert_eq!(get(n, "/readyz").await.0, 200, "the node is well");
    node.shutdown().await;
}

#[tokio::test]
async fn a_slash_and_a_parameter_against_caches_do_no_harm() {
    let dir = tempfile::tempdir().expect("dir");
    let addr = support::free_addr().await;
    let node = edge_node::start(config(dir.path(), addr)).await;
    let node = node.expect("start");
    for (path, encoding) in [("v1/frames/", "identity"), ("v1/frames", "Identity")] {
        let url = format!("http://{}/{path}?camera=c&_=1720000000", node.http_addr);
        let request = testing::client().post(url);
        let request = request
            .header("content-type", "application/octet-stream")
            .header("content-encoding", encoding)
            .header("x-frame-width", 4)
            .header("x-frame-height", 4)
            .body(plain(4, 4, [1, 2, 3]));
        let (status, body) = answer(request.send().await.expect("an answer")).await;
        assert_eq!(status, 202, "{path}: {body}");
        let id = body["frame_id"].as_str().expect("an id");
        let (status, body) = get(&node, &format!("/v1/frames/{id}/?_=1")).await;
        assert_eq!((status, &body["frame_id"]), (200, &id.into()), "{body}");
    }
    // Anything else is still a mistake worth telling.
    let request = post(&node, "camera=c&colour=red").body("x");
    let (status, body) = answer(request.send().await.expect("an answer")).await;
    assert_eq!(status, 400);
    assert!(body["error"].to_string().contains("colour"), "{body}");
    node.shutdown().await;
}

#[tokio::test]
async fn other_paths_answer_in_json_too() {
    let dir = tempfile::tempdir().expect("dir");
    let addr = support::free_addr().await;
    let node = edge_node::start(config(dir.path(), addr))
        .await
        .expect("start");
    for (path, expected) in [
        ("/v1/frames/0190a5e0-0000-7000-8000-000000000000", 404),
        ("/v1/frames/not-an-id", 400),
        ("/v1/frames", 405),
        ("/nothing", 404),
    ] {
        let (status, body) = get(&node, path).await;
        assert_eq!(status, expected, "{path}: {body}");
        assert!(body["error"].is_string(), "{path}: {body}");
    }
    node.shutdown().await;
}

#[tokio::test]
async fn too_many_at_once_are_told_to_come_back() {
    let dir = tempfile::tempdir().expect("dir");
    let addr = support::free_addr().await;
    let mut config = config(dir.path(), addr);
    config.http.max_concurrent = 1;
    let node = edge_node::start(config.clone()).await.expect("start");
    // A frame that cannot be stored, for the spool is locked, holds the only place.
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&config.spool.path);
    let other = sqlx::SqliteConnection::connect_with(&options).await;
    let mut other = other.expect("it opens");
    let lock = sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await;
    lock.expect("a lock");
    let first = post_raw(&node, "camera=c", 4, 4, plain(4, 4, [0; 3]));
    let first = tokio::spawn(first.send());
    support::eventually("the place is taken", async || {
        support::metric(&node, "edge_node_frames_in_flight").await == 1.0
    })
    .await;
    let request = post_raw(&node, "camera=c", 4, 4, plain(4, 4, [0; 3]));
    let response = request.send().await.expect("an answer");
    assert_eq!(response.status(), 429);
    assert!(response.headers().contains_key("retry-after"));
    let released = sqlx::query("ROLLBACK").execute(&mut other).await;
    released.expect("released");
    let answered = first.await.expect("task").expect("an answer");
    assert_eq!(answered.status(), 202);
    support::post_one(&node).await;
    node.shutdown().await;
}

#[tokio::test]
async fn a_camera_that_posts_too_fast_is_told_when_to_come_back_and_others_are_not_held_up() {
    let dir = tempfile::tempdir().expect("dir");
    let addr = support::free_addr().await;
    let mut config = config(dir.path(), addr);
    config.http.camera_rate = Some(0.5);
    config.http.camera_burst = 2;
    let node = edge_node::start(config).await.expect("start");
    let send = async |camera: &str| {
        let query = format!("camera={camera}");
        let request = post_raw(&node, &query, 4, 4, plain(4, 4, [0; 3]));
        request.send().await.expect("an answer")
    };
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(send("hasty").await);
    }
    let refused = answers.iter().filter(|a| a.status() == 429).count();
    assert!((2..=3).contains(&refused), "{answers:?}");
    assert!(answers[..2].iter().all(|a| a.status() == 202), "the burst");
    let last = answers.pop().expect("five");
    let wait: u64 = last.headers()["retry-after"]
        .to_str()
        .expect("text")
        .parse()
        .expect("seconds");
    assert!((1..=2).contains(&wait), "{wait}");
    assert_eq!(send("calm").await.status(), 202, "another camera");
    let series = "edge_node_frames_refused_total{reason=\"camera_rate\"}";
    assert_eq!(support::metric(&node, series).await, refused as f64);
    // The service recovers by itself.
    support::eventually("the camera may post again", async || {
        send("hasty").await.status() == 202
    })
    .await;
    node.shutdown().await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up() {
    let dir = tempfile::tempdir().expect("dir");
    let addr = support::free_addr().await;
    let mut config = config(dir.path(), addr);
    config.http.request_timeout_s = 1;
    let node = edge_node::start(config).await.expect("start");
    let (_hold, chunks) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
    let body = reqwest::Body::wrap_stream(tokio_stream::wrappers::ReceiverStream::new(chunks));
    let slow = post(&node, "camera=c")
        .header("content-type", "image/png")
        .body(body);
    let (status, body) = answer(slow.send().await.expect("an answer")).await;
    assert_eq!(status, 408, "{body}");
    assert_eq!(
        support::metric(&node, "edge_node_frames_in_flight").await,
        0.0
    );
    node.shutdown().await;
}
