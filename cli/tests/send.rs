//! `send` against an edge node that is played by the test.

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
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

fn send(
    answers: Vec<(&'static str, String)>,
    more: &[&str],
) -> (std::process::Output, Vec<String>) {
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
fn what_is_no_edge_node_is_told() {
    let page = "<html>hello</html>".to_owned();
    let (output, _) = send(vec![("200 OK", page)], &[]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("not that of an edge node"), "{error}");
    let error = common::fails(["send", "x.png", "--edge", "ftp://somewhere"]);
    assert!(error.contains("http://HOST:PORT"), "{error}");
}
