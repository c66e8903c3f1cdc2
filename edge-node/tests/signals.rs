//! The end of the process: within its time limit, and at once on a second signal.

mod support;

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use support::PATIENCE;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};

/// Much less than the time that a shutdown is given here.
const SOON: Duration = Duration::from_secs(5);

async fn start(folder: &Path, shutdown_s: u32) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_edge-node"))
        .args([
            "--http-listen",
            "127.0.0.1:0",
            "--endpoint",
            "http://127.0.0.1:1",
        ])
        .args(["--set", &format!("shutdown_s={shutdown_s}"), "--spool"])
        .arg(folder.join("spool.sqlite"))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("run");
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("stdout"));
    let read = timeout(PATIENCE, stdout.read_line(&mut line)).await;
    read.expect("in time").expect("a line");
    let http = line.trim_end().strip_prefix("listening http=");
    (child, http.expect("an address").to_owned())
}

fn signal(child: &Child, name: &str) {
    let id = child.id().expect("it runs").to_string();
    let sent = std::process::Command::new("kill")
        .args(["-s", name, &id])
        .status();
    assert!(sent.expect("kill").success());
}

/// Posts a frame whose body does not come, and returns once the node waits for it.
async fn post_half(http: &str) -> TcpStream {
    let mut stream = TcpStream::connect(http).await.expect("connect");
    let head = "POST /v1/frames?camera=gate HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\nexpect: 100-continue\r\ncontent-length: 9000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("write");
    let mut told = [0; 12];
    let read = timeout(PATIENCE, stream.read_exact(&mut told)).await;
    read.expect("in time").expect("an answer");
    assert_eq!(&told, b"HTTP/1.1 100", "the node wants the body");
    stream
}

#[tokio::test]
async fn a_request_in_progress_holds_up_no_end_for_longer_than_its_bound() {
    for name in ["TERM", "HUP"] {
        let dir = tempfile::tempdir().expect("dir");
        let (mut child, http) = start(dir.path(), 1).await;
        let _half = post_half(&http).await;
        let asked = Instant::now();
        signal(&child, name);
        let status = timeout(PATIENCE, child.wait()).await.expect("it ends");
        assert!(status.expect("a status").success(), "SIG{name}");
        let took = asked.elapsed();
        assert!(took < SOON, "SIG{name} ended it after {took:?}");
    }
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let dir = tempfile::tempdir().expect("dir");
    let (mut child, http) = start(dir.path(), 600).await;
    let _half = post_half(&http).await;
    signal(&child, "TERM");
    support::eventually("no more connections", async || {
        TcpStream::connect(&http).await.is_err()
    })
    .await;
    let asked = Instant::now();
    signal(&child, "TERM");
    let status = timeout(PATIENCE, child.wait()).await.expect("it ends");
    let took = asked.elapsed();
    assert!(took < SOON, "a second SIGTERM ended it after {took:?}");
    assert_eq!(status.expect("a status").code(), Some(1));
}
