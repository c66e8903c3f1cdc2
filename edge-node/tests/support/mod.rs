//! A node in a temporary folder, a cloud that does as it is told, and small programs.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::{
    future::Future,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use edge_node::{Config, Running};
use nqe::{ConvSpec, OutputKind, ProgramBuilder, Task, WeightKind};
use patchwire_proto::v1::{
    Ack, AckStatus, CloudMessage, Drain, EdgeMessage, EncodedFrame, Hello, NodeStatus, Welcome,
    cloud_message, edge_message,
    uplink_server::{self, UplinkServer},
};
use reqwest::{RequestBuilder, Response};
use serde_json::Value;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{
    Request, Status, Streaming,
    transport::{Server, ServerTlsConfig},
};

pub const PATIENCE: Duration = Duration::from_secs(20);

/// The cloud's reaction to a frame.
pub enum Verdict {
    Accept,
    /// Asks the node to drain the stream, then accepts the frame.
    Drain,
    Duplicate,
    Reject(&'static str),
    /// Says nothing.
    Ignore,
    /// Ends the stream with an error.
    HangUp,
    /// Ends the stream because of what it was sent.
    Refuse,
}

type Judge = Arc<dyn Fn(usize, &EncodedFrame) -> Verdict + Send + Sync>;

/// A gRPC server that records what it gets. The judge is told how many frames came before.
pub struct Cloud {
    pub addr: SocketAddr,
    seen: Seen,
    server: JoinHandle<()>,
}

#[derive(Clone, Default)]
struct Seen {
    authorizations: Arc<Mutex<Vec<Option<String>>>>,
    /// Each with the number of its stream.
    frames: Arc<Mutex<Vec<(usize, EncodedFrame)>>>,
    hellos: Arc<Mutex<Vec<Hello>>>,
    statuses: Arc<Mutex<Vec<NodeStatus>>>,
}

struct Service {
    seen: Seen,
    judge: Judge,
    window: u32,
    current: bool,
    limits: Limits,
    /// The welcome's offer of the codec.
    codec: Welcome,
}

/// Largest frames that a cloud says it takes.
#[derive(Clone, Copy)]
pub struct Limits {
    /// Not told if 0.
    pub max_pixels: u64,
    pub max_message_bytes: u64,
}

pub const NO_LIMITS: Limits = Limits {
    max_pixels: 0,
    max_message_bytes: 64 << 20,
};

impl Cloud {
    pub async fn start(
        judge: impl Fn(usize, &EncodedFrame) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), 8, judge).await
    }

    /// A cloud of before nodes told their status and sent originals in the camera's own encoding.
    pub async fn start_of_before(
        judge: impl Fn(usize, &EncodedFrame) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        Self::open(
            Server::builder(),
            ([127, 0, 0, 1], 0).into(),
            8,
            false,
            judge,
        )
        .await
    }

    /// One that says that it takes frames up to these limits, and accepts everything.
    pub async fn start_for(limits: Limits) -> Self {
        let addr = ([127, 0, 0, 1], 0).into();
        let judge = |_: usize, _: &EncodedFrame| Verdict::Accept;
        let codec = Welcome::default();
        Self::open_for(Server::builder(), addr, 8, true, limits, codec, judge).await
    }

    /// One whose welcome says this about the codec.
    pub async fn start_offering(
        codec: Welcome,
        judge: impl Fn(usize, &EncodedFrame) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        let addr = ([127, 0, 0, 1], 0).into();
        Self::open_for(Server::builder(), addr, 8, true, NO_LIMITS, codec, judge).await
    }

    /// One that accepts everything, behind TLS.
    pub async fn start_tls(tls: ServerTlsConfig) -> Self {
        let builder = Server::builder().tls_config(tls).expect("TLS");
        let addr = ([127, 0, 0, 1], 0).into();
        Self::open(builder, addr, 8, true, |_, _| Verdict::Accept).await
    }

    pub async fn start_at(
        addr: SocketAddr,
        window: u32,
        judge: impl Fn(usize, &EncodedFrame) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        Self::open(Server::builder(), addr, window, true, judge).await
    }

    async fn open(
        builder: Server,
        addr: SocketAddr,
        window: u32,
        current: bool,
        judge: impl Fn(usize, &EncodedFrame) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        let codec = Welcome::default();
        Self::open_for(builder, addr, window, current, NO_LIMITS, codec, judge).await
    }

    async fn open_for(
        mut builder: Server,
        addr: SocketAddr,
        window: u32,
        current: bool,
        limits: Limits,
        codec: Welcome,
        judge: impl Fn(usize, &EncodedFrame) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(addr).await.expect("bind the cloud");
        let addr = listener.local_addr().expect("address");
        let seen = Seen::default();
        let service = Service {
            seen: seen.clone(),
            judge: Arc::new(judge),
            window,
            current,
            limits,
            codec,
        };
        let service = UplinkServer::new(service).max_decoding_message_size(64 << 20);
        let server = tokio::spawn(async move {
            builder
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
                .expect("the cloud's server");
        });
        Self { addr, seen, server }
    }

    pub fn frames(&self) -> Vec<EncodedFrame> {
        let frames = self.numbered_frames().into_iter();
        frames.map(|(_, frame)| frame).collect()
    }

    /// Frames with the number of their stream.
    pub fn numbered_frames(&self) -> Vec<(usize, EncodedFrame)> {
        self.seen.frames.lock().expect("lock").clone()
    }

    pub fn statuses(&self) -> Vec<NodeStatus> {
        self.seen.statuses.lock().expect("lock").clone()
    }

    /// The header `authorization` of each stream.
    pub fn authorizations(&self) -> Vec<Option<String>> {
        self.seen.authorizations.lock().expect("lock").clone()
    }

    pub fn hellos(&self) -> Vec<Hello> {
        self.seen.hellos.lock().expect("lock").clone()
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[tonic::async_trait]
impl uplink_server::Uplink for Service {
    type StreamStream = ReceiverStream<Result<CloudMessage, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<EdgeMessage>>,
    ) -> Result<tonic::Response<Self::StreamStream>, Status> {
        let header = request.metadata().get("authorization");
        let header = header.map(|value| value.to_str().expect("text").to_owned());
        let authorizations = &self.seen.authorizations;
        authorizations.lock().expect("lock").push(header);
        let mut inbound = request.into_inner();
        let (outbound, messages) = mpsc::channel(64);
        let (seen, judge, window) = (self.seen.clone(), Arc::clone(&self.judge), self.window);
        let (current, limits, codec) = (self.current, self.limits, self.codec.clone());
        let number = self.seen.authorizations.lock().expect("lock").len();
        tokio::spawn(async move {
            while let Ok(Some(message)) = inbound.message().await {
                let answer = match message.body.expect("a body") {
                    edge_message::Body::Hello(hello) => {
                        seen.hellos.lock().expect("lock").push(hello);
                        cloud_message::Body::Welcome(Welcome {
                            software_version: "test".into(),
                            max_message_bytes: limits.max_message_bytes,
                            window,
                            takes_status: current,
                            takes_camera_originals: current,
                            max_pixels: limits.max_pixels,
                            ..codec.clone()
                        })
                    }
                    edge_message::Body::Status(status) => {
                        seen.statuses.lock().expect("lock").push(status);
                        continue;
                    }
                    edge_message::Body::Frame(frame) => {
                        let before = {
                            let mut frames = seen.frames.lock().expect("lock");
                            frames.push((number, frame.clone()));
                            frames.len() - 1
                        };
                        let (status, reason) = match judge(before, &frame) {
                            Verdict::Accept => (AckStatus::Accepted, ""),
                            Verdict::Drain => {
                                let body = Some(cloud_message::Body::Drain(Drain {}));
                                let _sent = outbound.send(Ok(CloudMessage { body })).await;
                                (AckStatus::Accepted, "")
                            }
                            Verdict::Duplicate => (AckStatus::Duplicate, ""),
                            Verdict::Reject(reason) => (AckStatus::Rejected, reason),
                            Verdict::Ignore => continue,
                            Verdict::Refuse => {
                                let _sent = outbound.send(Err(Status::data_loss("no"))).await;
                                return;
                            }
                            Verdict::HangUp => {
                                let _sent = outbound.send(Err(Status::unavailable("gone"))).await;
                                return;
                            }
                        };
                        cloud_message::Body::Ack(Ack {
                            frame_id: frame.frame_id,
                            status: status.into(),
                            reason: reason.into(),
                        })
                    }
                };
                if outbound
                    .send(Ok(CloudMessage { body: Some(answer) }))
                    .await
                    .is_err()
                {
                    return;
                }
            }
        });
        Ok(tonic::Response::new(ReceiverStream::new(messages)))
    }
}

/// An address at which nobody listens now.
pub async fn free_addr() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    listener.local_addr().expect("address")
}

/// A configuration with small programs and everything in `dir`.
pub fn config(dir: &Path, cloud: SocketAddr) -> Config {
    let compress = dir.join("compress.nqe");
    let classify = dir.join("classify.nqe");
    std::fs::write(&compress, bright_red()).expect("write program");
    std::fs::write(&classify, dominant_colour()).expect("write program");
    let mut config = Config {
        originals_share: 0.0,
        threads: 2,
        shutdown_s: 5,
        ..Config::default()
    };
    config.http.listen = ([127, 0, 0, 1], 0).into();
    config.programs.compress = Some(compress);
    config.programs.classify = Some(classify);
    config.spool.path = dir.join("spool.sqlite");
    config.spool.max_bytes = 4 << 20;
    config.uplink.endpoint = format!("http://{cloud}");
    config.uplink.backoff_min_ms = 5;
    config.uplink.backoff_max_ms = 50;
    config
}

fn spec(out_channels: u32, output: OutputKind) -> ConvSpec {
    ConvSpec {
        out_channels,
        kernel_height: 32,
        kernel_width: 32,
        stride: 1,
        padding: 0,
        groups: 1,
        weights: WeightKind::Ternary,
        output,
        shift: 0,
        bias_bits: 24,
    }
}

/// Eight bits a patch, all telling whether its red is bright.
fn bright_red() -> Vec<u8> {
    bright("bright-red", [1, 0, 0])
}

/// Eight bits a patch, all telling whether a colour of it is bright.
pub fn bright(name: &str, colour: [i8; 3]) -> Vec<u8> {
    let mut builder = ProgramBuilder::new(Task::Compress, name, Vec::new()).expect("builder");
    let weights = colour.repeat(8 * 32 * 32);
    builder
        .conv(spec(8, OutputKind::Latent), weights, vec![-128 * 1024; 8])
        .expect("layer");
    builder.finish().expect("program").to_bytes()
}

/// The sums of red, green and blue as logits.
fn dominant_colour() -> Vec<u8> {
    let labels = ["red", "green", "blue"].map(String::from).to_vec();
    let mut builder =
        ProgramBuilder::new(Task::Classify, "dominant-colour", labels).expect("builder");
    let weights = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
        .map(|pixel| pixel.repeat(32 * 32))
        .concat();
    builder
        .conv(spec(3, OutputKind::Logits), weights, vec![0; 3])
        .expect("layer");
    builder.finish().expect("program").to_bytes()
}

/// A raw frame of one colour.
pub fn plain(width: u32, height: u32, colour: [u8; 3]) -> Vec<u8> {
    colour.repeat((width * height) as usize)
}

/// Pixels that no lossless format makes smaller.
pub fn noise(width: u32, height: u32, seed: u8) -> Vec<u8> {
    let mixed = |i: u32| (i ^ i >> 15).wrapping_mul(0x2c1b_3c6d);
    (0..width * height * 3)
        .map(|i| (mixed(mixed(i.wrapping_mul(2_654_435_761))) >> 24) as u8 ^ seed)
        .collect()
}

pub fn post(node: &Running, query: &str) -> RequestBuilder {
    testing::client().post(format!("http://{}/v1/frames?{query}", node.http_addr))
}

pub fn post_raw(
    node: &Running,
    query: &str,
    width: u32,
    height: u32,
    rgb: Vec<u8>,
) -> RequestBuilder {
    post(node, query)
        .header("content-type", "application/octet-stream")
        .header("x-frame-width", width)
        .header("x-frame-height", height)
        .body(rgb)
}

/// Posts a small frame and returns its id.
pub async fn post_one(node: &Running) -> String {
    let request = post_raw(node, "camera=gate", 32, 32, plain(32, 32, [200, 0, 0]));
    let (status, body) = answer(request.send().await.expect("an answer")).await;
    assert_eq!(status, 202, "{body}");
    body["frame_id"].as_str().expect("an id").to_owned()
}

pub async fn answer(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.expect("a body");
    (
        status,
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
    )
}

pub async fn get(node: &Running, path: &str) -> (u16, Value) {
    let url = format!("http://{}{path}", node.http_addr);
    answer(testing::client().get(url).send().await.expect("an answer")).await
}

pub async fn state(node: &Running, id: &str) -> String {
    let (status, body) = get(node, &format!("/v1/frames/{id}")).await;
    assert_eq!(status, 200, "{body}");
    body["state"].as_str().expect("a state").to_owned()
}

pub async fn backlog(node: &Running) -> u64 {
    get(node, "/v1/status").await.1["backlog"]["frames"]
        .as_u64()
        .expect("a count")
}

/// The value of a metric, by its name with labels.
pub async fn metric(node: &Running, series: &str) -> f64 {
    let (_, text) = get(node, "/metrics").await;
    let text = text.as_str().expect("text");
    let line = text.lines().find(|line| {
        line.rsplit_once(' ')
            .is_some_and(|(name, _)| name == series)
    });
    let value = line.unwrap_or_else(|| panic!("no series {series} in\n{text}"));
    value
        .rsplit_once(' ')
        .expect("a value")
        .1
        .parse()
        .expect("a number")
}

/// Waits until `condition` holds; fails after [`PATIENCE`].
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    testing::eventually(what, PATIENCE, async || condition().await.then_some(())).await;
}
