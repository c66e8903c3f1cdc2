//! An RTSP camera through a real ffmpeg. `.ci/tools` installs it; without it, the test only fails where `CI` is set.

mod support;

use std::{process::Command, time::Duration};

use edge_node::config::Source;
use support::{Cloud, Verdict, config, eventually};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    time::sleep,
};

/// Bytes of a packet of an MPEG transport stream, and how many go into one of RTP.
const TS: usize = 188;
const TS_IN_RTP: usize = 7;

/// Twenty seconds of a test picture as an MPEG transport stream.
fn video() -> Vec<u8> {
    let made = Command::new("ffmpeg")
        .args([
            "-nostdin",
            "-loglevel",
            "error",
            "-f",
            "lavfi",
            "-i",
            "testsrc=size=64x64:rate=10",
        ])
        .args(["-t", "20", "-c:v", "mpeg2video", "-f", "mpegts", "pipe:1"])
        .output()
        .expect("ffmpeg runs");
    assert!(made.status.success(), "{made:?}");
    made.stdout
}

/// A camera of RFC 2326, interleaved in one connection, that plays a transport stream (RFC 2250) and hangs up.
async fn camera(mut stream: TcpStream, video: Vec<u8>) -> std::io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::new(reader).lines();
    let (mut method, mut sequence) = (String::new(), String::new());
    while let Some(line) = lines.next_line().await? {
        if let Some(value) = line.strip_prefix("CSeq: ") {
            sequence = value.to_owned();
        } else if method.is_empty() {
            method = line.split(' ').next().unwrap_or_default().to_owned();
        }
        if !line.is_empty() {
            continue;
        }
        let sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track\r\n";
        let (headers, body) = match &*method {
            "OPTIONS" => ("Public: OPTIONS, DESCRIBE, SETUP, PLAY\r\n", ""),
            "DESCRIBE" => ("Content-Type: application/sdp\r\n", sdp),
            "SETUP" => (
                "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n",
                "",
            ),
            _ => ("Session: 1\r\n", ""),
        };
        let length = body.len();
        let answer = format!(
            "RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        writer.write_all(answer.as_bytes()).await?;
        if method == "PLAY" {
            break;
        }
        method.clear();
    }
    for (number, payload) in (0_u16..).zip(video.chunks(TS * TS_IN_RTP)) {
        let length = u16::try_from(12 + payload.len())
            .expect("short")
            .to_be_bytes();
        let mut packet = vec![b'$', 0, length[0], length[1], 0x80, 33];
        packet.extend(number.to_be_bytes());
        packet.extend((u32::from(number) * 900).to_be_bytes());
        packet.extend([0, 0, 0, 1]);
        packet.extend(payload);
        writer.write_all(&packet).await?;
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

#[tokio::test]
async fn an_rtsp_camera_is_read_through_ffmpeg() {
    let found = Command::new("ffmpeg").arg("-version").output().is_ok();
    let must = std::env::var_os("CI").is_some();
    assert!(found || !must, "ffmpeg is not installed; .ci/tools does it");
    if !found {
        eprintln!("NOT TESTED: ffmpeg is not installed; .ci/tools does it");
        return;
    }
    let video = video();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let addr = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(camera(stream, video.clone()));
        }
    });
    let dir = tempfile::tempdir().expect("dir");
    let cloud = Cloud::start(|_, _| Verdict::Accept).await;
    let mut config = config(dir.path(), cloud.addr);
    let source = |camera: &str, url: String| Source {
        camera: camera.into(),
        url: Some(url),
        rate: Some(5.0),
        ..Source::default()
    };
    let closed = support::free_addr().await;
    config.sources = vec![
        source("rtsp", format!("rtsp://{addr}/live")),
        source("nowhere", format!("rtsp://{closed}/live")),
    ];
    let node = edge_node::start(config).await.expect("start");
    eventually("frames arrive", async || cloud.frames().len() >= 3).await;
    let frame = cloud.frames().remove(0);
    assert_eq!(
        (frame.camera_id.as_str(), frame.width, frame.height),
        ("rtsp", 64, 64)
    );
    eventually("what ffmpeg says of the other is told", async || {
        let (_, status) = support::get(&node, "/v1/status").await;
        status["sources"][1]["error"]
            .to_string()
            .contains("Connection refused")
    })
    .await;
    node.shutdown().await;
}
