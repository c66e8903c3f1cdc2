//! The end of the process: soon, whatever it is doing, and at once on a second signal.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use latent::LatentFrame;
use patchwire_proto::v1::{
    EdgeMessage, EncodedFrame, cloud_message::Body as CloudBody, edge_message::Body as EdgeBody,
    uplink_client::UplinkClient,
};
use serde_json::Value;
use support::{LIMIT, hello, sealed};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

mod support;

/// Sides of a frame that takes much longer to decode than a process may take to end.
const SIDE: u32 = 8000;
/// As documented.
const BOUND: Duration = Duration::from_secs(10);
/// Much less than waiting for the work in progress would take.
const SOON: Duration = Duration::from_secs(5);

struct Service {
    child: Child,
    http: String,
    grpc: String,
}

impl Service {
    fn start(data: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_cloud-decoder"))
            .args([
                "--http-listen",
                "127.0.0.1:0",
                "--grpc-listen",
                "127.0.0.1:0",
            ])
            .arg("--data-dir")
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("spawn");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout");
        BufReader::new(stdout).read_line(&mut line).expect("line");
        let addresses = line.trim_end().strip_prefix("listening http=");
        let (http, grpc) = addresses
            .and_then(|rest| rest.split_once(" grpc="))
            .expect("addresses");
        let (http, grpc) = (http.to_owned(), grpc.to_owned());
        Self { child, http, grpc }
    }

    async fn text(&self, path: &str) -> Option<String> {
        let get = testing::client().get(format!("http://{}{path}", self.http));
        let answer = get.send().await.ok()?;
        answer.status().is_success().then_some(())?;
        answer.text().await.ok()
    }

    async fn json(&self, path: &str) -> Value {
        let text = self.text(path).await.expect("an answer");
        serde_json::from_str(&text).expect("JSON")
    }

    async fn decoding(&self) {
        testing::eventually("a frame is being decoded", LIMIT, async || {
            let metrics = self.text("/metrics").await?;
            metrics
                .contains("\ncloud_decoder_decode_busy 1\n")
                .then_some(())
        })
        .await;
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.expect("kill").success());
    }

    async fn ended(mut self) -> ExitStatus {
        testing::eventually("it ends", LIMIT, async || {
            self.child.try_wait().expect("wait")
        })
        .await
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.child.kill().ok();
    }
}

/// Sends a large frame for the service's own decoder.
async fn send_large(service: &Service) -> Uuid {
    let decoder = service.json("/api/v1/summary").await["decoder"].take();
    let mut program = [0; 32];
    let id = decoder["program_id"].as_str().expect("an id");
    hex::decode_to_slice(id, &mut program).expect("hex");
    let bits = decoder["bits_per_patch"].as_u64().expect("bits") as u32;
    let patches = SIDE.div_ceil(32).pow(2);
    let latents = LatentFrame {
        bits,
        width: SIDE,
        height: SIDE,
        program,
        payload: vec![0x5a; (patches * bits / 8) as usize].into(),
    };
    let id = Uuid::now_v7();
    let frame = sealed(EncodedFrame {
        frame_id: id.as_bytes().to_vec().into(),
        camera_id: "large".to_owned(),
        captured_unix_ms: 1_790_000_000_000,
        width: SIDE,
        height: SIDE,
        latents: latents.encode(),
        ..EncodedFrame::default()
    });
    let (up, outbound) = mpsc::channel(2);
    for body in [EdgeBody::Hello(hello()), EdgeBody::Frame(frame)] {
        up.send(EdgeMessage { body: Some(body) })
            .await
            .expect("room");
    }
    let client = UplinkClient::connect(format!("http://{}", service.grpc)).await;
    let mut client = client.expect("gRPC").max_encoding_message_size(64 << 20);
    let down = client.stream(ReceiverStream::new(outbound)).await;
    let mut down = down.expect("a stream").into_inner();
    loop {
        let message = timeout(LIMIT, down.message()).await.expect("in time");
        if let Some(CloudBody::Ack(ack)) = message.expect("a message").expect("one").body {
            assert_eq!(ack.reason, "");
            return id;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_frame_that_is_being_decoded_holds_up_no_end_and_stays_queued() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut service = Service::start(&data);
    let frame = send_large(&service).await;
    for signal in ["TERM", "HUP"] {
        service.decoding().await;
        let asked = Instant::now();
        service.signal(signal);
        let status = service.ended().await;
        let took = asked.elapsed();
        assert!(status.success(), "SIG{signal}: {status}");
        assert!(took < BOUND, "SIG{signal} ended it after {took:?}");
        service = Service::start(&data);
    }
    let record = service.json(&format!("/api/v1/frames/{frame}")).await;
    assert_eq!(record["state"], "queued", "{record}");
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let folder = tempfile::tempdir().expect("folder");
    let service = Service::start(&folder.path().join("data"));
    // The service waits for a login whose body does not come.
    let mut login = TcpStream::connect(&service.http).await.expect("connect");
    let head = "POST /api/v1/session HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n{";
    login.write_all(head.as_bytes()).await.expect("write");
    testing::eventually("the service answers", LIMIT, async || {
        service.text("/livez").await
    })
    .await;
    service.signal("TERM");
    let gone = async || TcpStream::connect(&service.http).await.err();
    testing::eventually("it takes no more connections", LIMIT, gone).await;
    let asked = Instant::now();
    service.signal("TERM");
    let status = service.ended().await;
    let took = asked.elapsed();
    assert!(took < SOON, "a second SIGTERM ended it after {took:?}");
    assert_eq!(status.code(), Some(1), "it says that not all was done");
}
