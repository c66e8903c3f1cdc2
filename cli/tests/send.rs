//! `send` against an edge node that is played by the test.

mod common;

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const ID: &str = "01930000-0000-7000-8000-000000000000";

/// Reads one request and gives its head.
fn request(stream: &mut TcpStream) -> String {
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("timeout can be set");
    let (mut bytes, mut chunk) = (Vec::new(), [0; 65536]);
    loop {
        let read = stream.read(&mut chunk).expect("the request arrives");
        assert!(read > 0, "the request ended early");
        bytes.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, _)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let head = head.to_lowercase();
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().expect("a length"));
        if bytes.len() >= head.len() + 4 + length {
            return head;
        }
    }
}

/// Answers one connection after the other; gives the heads of the requests.
fn play(listener: TcpListener, answers: Vec<(&'static str, String)>) -> Vec<String> {
    answers
        .into_iter()
        .map(|(head, body)| {
            let (mut stream, _) = listener.accept().expect("a connection");
            let asked = request(&mut stream);
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            )
            .expect("the answer can be written");
            asked
        })
        .collect()
}

fn send(answers: Vec<(&'static str, String)>, more: &[&str]) -> (Output, Vec<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let edge = std::thread::spawn(move || play(listener, answers));
    let sample = common::samples().join("lake.jpg").display().to_string();
    let arguments = ["send", &sample, "--edge", &url, "--camera", "gate-1"];
    let output = common::patchwire(arguments.iter().chain(more));
    (output, edge.join().expect("the played edge node ends well"))
}

fn accepted() -> (&'static str, String) {
    let scores = r#"[{"label":"ship","score":0.9}]"#;
    let body = format!(r#"{{"frame_id":"{ID}","bits_per_pixel":0.25,"scores":{scores}}}"#);
    ("202 Accepted", body)
}

#[test]
fn a_busy_edge_node_is_asked_again() {
    let busy = r#"{"error":"too many frames"}"#.to_owned();
    let (output, asked) = send(
        vec![
            ("503 Service Unavailable\r\nretry-after: 0", busy.clone()),
            ("429 Too Many Requests", busy),
            accepted(),
            ("200 OK", r#"{"state":"spooled"}"#.to_owned()),
            ("200 OK", r#"{"state":"duplicate"}"#.to_owned()),
        ],
        &["--task", "both", "--wait"],
    );
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{shown}");
    assert!(
        shown.contains("delivered") && shown.contains("ship 0.90"),
        "{shown}"
    );
    for post in &asked[..3] {
        assert!(
            post.starts_with("post /v1/frames?camera=gate-1&task=both "),
            "{post}"
        );
        assert!(post.contains("content-type: image/jpeg"), "{post}");
    }
    for get in &asked[3..] {
        assert!(get.starts_with(&format!("get /v1/frames/{ID} ")), "{get}");
    }
}

/// Runs `send` with `input` on its standard input against an edge node that takes every frame.
fn send_stream(input: &[u8], frames: usize, arguments: &[&str]) -> (Output, Vec<String>) {
    send_answered(input, vec![accepted(); frames], arguments)
}

/// The same against one that answers so.
fn send_answered(
    input: &[u8],
    answers: Vec<(&'static str, String)>,
    arguments: &[&str],
) -> (Output, Vec<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let edge = std::thread::spawn(move || play(listener, answers));
    let mut child = Command::new(env!("CARGO_BIN_EXE_patchwire"))
        .arg("send")
        .args(arguments)
        .args(["--edge", &url, "--camera", "pipe"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("patchwire starts");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input).expect("it is read");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    (output, edge.join().expect("the played edge node ends well"))
}

#[test]
fn motion_jpeg_on_standard_input_is_sent_frame_by_frame() {
    let photographs = common::photographs();
    let two = photographs
        .iter()
        .take(2)
        .map(|path| std::fs::read(path).expect("readable"));
    let two: Vec<_> = two.collect();
    let input = [&two[0][..], b"--boundary\r\n\r\n", &two[1]].concat();
    let (output, asked) = send_stream(&input, 2, &["-", "--rate", "50"]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(
        shown.contains("standard input") && shown.contains("2 frames"),
        "{shown}"
    );
    for (post, jpeg) in asked.iter().zip(&two) {
        assert!(
            post.starts_with("post /v1/frames?camera=pipe&task=compress "),
            "{post}"
        );
        assert!(
            post.contains(&format!("content-length: {}", jpeg.len())),
            "{post}"
        );
    }
    let (output, _) = send_stream(b"no picture at all", 0, &["-"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(error, "patchwire: there is no frame in standard input\n");
}

#[test]
fn a_frame_that_was_cut_is_refused_alone() {
    let frames_folder =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../media/tests/mjpeg");
    let read = |name: &str| std::fs::read(frames_folder.join(name)).expect("a frame");
    let names = ["0", "1", "2", "3-cut", "4", "5", "6", "7"];
    let frames: Vec<_> = names.map(|name| read(&format!("frame-{name}.jpg"))).into();
    let parts = frames.iter().map(|frame| {
        let head = b"--frame\r\ncontent-type: image/jpeg\r\n\r\n";
        [&head[..], frame, b"\r\n"].concat()
    });
    let parts = parts.collect::<Vec<_>>().concat();
    let file = frames_folder.join("stdin-cut.mjpeg").display().to_string();
    let inputs = [
        (read("stdin-cut.mjpeg"), "-", "standard input"),
        (parts, "-", "standard input"),
        (Vec::new(), &file[..], "stdin-cut.mjpeg"),
    ];
    for (input, path, name) in inputs {
        let refused = r#"{"error":"JPEG is truncated or damaged"}"#.to_owned();
        let mut answers = vec![accepted(); 8];
        answers[3] = ("400 Bad Request", refused);
        let (output, asked) = send_answered(&input, answers, &[path]);
        for (post, frame) in asked.iter().zip(&frames) {
            let length = format!("content-length: {}", frame.len());
            assert!(post.lines().any(|line| line == length), "{post}");
        }
        assert_eq!((asked.len(), output.status.code()), (8, Some(1)));
        let error = String::from_utf8_lossy(&output.stderr);
        let told =
            format!("1 of 8 frames did not make it, the first: {name}: 400: JPEG is truncated");
        assert!(error.contains(&told), "{error}");
    }
}

#[test]
fn a_file_that_cannot_be_read_does_not_stop_the_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let lake = common::samples().join("lake.jpg");
    for name in ["a.jpg", "c.jpg"] {
        std::fs::copy(&lake, folder.path().join(name)).expect("a file");
    }
    // A link to itself, since who runs the tests may read everything.
    std::os::unix::fs::symlink("b.jpg", folder.path().join("b.jpg")).expect("a link");
    let path = folder.path().display().to_string();
    let (output, asked) = send_answered(b"", vec![accepted(); 2], &[&path]);
    assert_eq!((asked.len(), output.status.code()), (2, Some(1)));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("1 of 3 frames did not make it, the first: b.jpg: cannot open"),
        "{error}"
    );
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(shown.matches("accepted").count(), 2, "{shown}");
}

#[test]
fn an_edge_node_that_fails_halfway_does_not_hide_what_was_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let lake = common::samples().join("lake.jpg");
    for name in ["a.jpg", "b.jpg"] {
        std::fs::copy(&lake, folder.path().join(name)).expect("a file");
    }
    let path = folder.path().display().to_string();
    let page = ("200 OK", "<html>hello</html>".to_owned());
    let (output, _) = send_answered(b"", vec![accepted(), page], &[&path]);
    assert_eq!(output.status.code(), Some(1));
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        shown.contains("a.jpg") && shown.contains("accepted"),
        "{shown}"
    );
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("b.jpg"), "{error}");
    // A failure of one frame is no reason to keep the others back.
    let failed = (
        "500 Internal Server Error",
        r#"{"error":"it failed"}"#.to_owned(),
    );
    let (output, asked) = send_answered(b"", vec![failed, accepted()], &[&path]);
    assert_eq!((asked.len(), output.status.code()), (2, Some(1)));
}

#[test]
fn a_video_of_a_variable_rate_has_as_many_frames_as_it_has() {
    if !common::has_ffmpeg() {
        return;
    }
    let video = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vfr.mp4");
    let (output, asked) = send_stream(b"", 5, &[&video.display().to_string()]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(shown.contains("5 frames"), "{shown}");
    assert_eq!(asked.len(), 5);
}

#[test]
fn every_frame_of_a_video_is_sent_once_whatever_its_clock() {
    if !common::has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().expect("temporary folder");
    let video = folder.path().join("video.avi").display().to_string();
    // Times in an AVI file are numbers of its frames.
    let mut make = Command::new("ffmpeg");
    make.args(["-nostdin", "-loglevel", "error", "-f", "lavfi"]);
    make.args(["-i", "testsrc2=size=64x64:rate=10:duration=1", &video]);
    assert!(make.status().expect("ffmpeg starts").success());
    let (output, asked) = send_stream(b"", 10, &[&video]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(shown.contains("10 frames"), "{shown}");
    assert_eq!(asked.len(), 10);
}

#[test]
fn a_proxy_of_the_environment_is_named_and_this_machine_reached_without() {
    let proxy = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("http://{}", proxy.local_addr().expect("an address"));
    let refusal = ("403 Forbidden", "not through here".to_owned());
    let proxy = std::thread::spawn(move || play(proxy, vec![refusal]));
    let lake = common::samples().join("lake.jpg");
    let patchwire = |edge: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_patchwire"));
        command.arg("send").arg(&lake).args(["--edge", edge]);
        command.env("http_proxy", &address);
        command.env_remove("no_proxy").env_remove("NO_PROXY");
        command.output().expect("it runs")
    };
    let output = patchwire("http://192.0.2.7:8080");
    let error = String::from_utf8_lossy(&output.stderr);
    let told = format!("403 (through the proxy {address}, which the environment names): not");
    assert!(error.contains(&told), "{error}");
    let asked = proxy.join().expect("the played proxy ends well");
    assert!(
        asked[0].starts_with("post http://192.0.2.7:8080/v1/frames"),
        "{asked:?}"
    );

    let edge = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", edge.local_addr().expect("an address"));
    let edge = std::thread::spawn(move || play(edge, vec![accepted()]));
    assert!(patchwire(&url).status.success());
    edge.join().expect("the played edge node ends well");
}

#[test]
fn a_video_is_read_by_ffmpeg() {
    let folder = tempfile::tempdir().expect("a folder");
    let video = folder.path().join("clip.mp4");
    if !common::has_ffmpeg() {
        return;
    }
    let made = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-f", "lavfi", "-i"])
        .args(["testsrc=size=64x64:rate=10", "-t", "2", "-c:v", "mpeg4"])
        .arg(&video)
        .status();
    assert!(made.expect("ffmpeg runs").success());
    // Two seconds, five frames of each.
    let (output, asked) = send_stream(b"", 10, &[&video.display().to_string(), "--rate", "5"]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(
        shown.contains("clip.mp4") && shown.contains("10 frames"),
        "{shown}"
    );
    assert_eq!(asked.len(), 10);

    // An unreadable file does not stop the others.
    let broken = folder.path().join("broken.mp4");
    std::fs::write(&broken, "no video").expect("a file");
    let both = [&broken, &video].map(|path| path.display().to_string());
    let (output, asked) = send_stream(b"", 10, &[&both[0], &both[1], "--rate", "5"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("cannot read broken.mp4: ffmpeg says: "),
        "{error}"
    );
    assert_eq!((asked.len(), output.status.code()), (10, Some(1)));

    std::fs::write(&video, "no video").expect("a file");
    let error = common::fails([OsStr::new("send"), video.as_os_str()]);
    assert!(
        error.contains("cannot read clip.mp4: ffmpeg says: "),
        "{error}"
    );
}

#[test]
fn without_ffmpeg_a_video_is_not_sent_and_it_is_told_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let video = folder.path().join("clip.mp4");
    std::fs::write(&video, "a video").expect("a file");
    let output = Command::new(env!("CARGO_BIN_EXE_patchwire"))
        .arg("send")
        .arg(&video)
        .env("PATH", folder.path())
        .output()
        .expect("patchwire starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.ends_with("clip.mp4: ffmpeg is not installed, or not in PATH\n"),
        "{error}"
    );
}

#[test]
fn a_refused_frame_is_not_sent_again_and_fails_the_command() {
    let error = r#"{"error":"camera is on fire"}"#.to_owned();
    let (output, asked) = send(vec![("400 Bad Request", error)], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(asked.len(), 1);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("400: camera is on fire"), "{shown}");
}

#[test]
fn an_edge_node_below_a_path_is_reached() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!(
        "http://{}/edge/1",
        listener.local_addr().expect("an address")
    );
    let edge = std::thread::spawn(move || play(listener, vec![accepted()]));
    let sample = common::samples().join("lake.jpg").display().to_string();
    let output = common::patchwire(["send", &sample, "--edge", &url]);
    assert!(output.status.success(), "{output:?}");
    let asked = edge.join().expect("the played edge node ends well");
    assert!(
        asked[0].starts_with("post /edge/1/v1/frames?"),
        "{}",
        asked[0]
    );
}

#[test]
fn what_is_no_edge_node_is_told() {
    let page = "<html>hello</html>".to_owned();
    let (output, _) = send(vec![("200 OK", page)], &[]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("not that of an edge node"), "{error}");
    let error = common::fails(["send", "x.png", "--edge", "ftp://somewhere"]);
    assert!(error.contains("http://HOST:PORT"), "{error}");
}
