//! A running service with a tiny decoder, and a node that talks to it.
#![allow(dead_code, unreachable_pub, missing_docs)]

pub mod secrets;

use std::{collections::HashMap, fs, path::Path, time::Duration};

use bytes::Bytes;
use cloud_decoder::{Config, Running};
use latent::LatentFrame;
use patchwire_proto::v1::{
    Ack, AckStatus, CloudMessage, EdgeMessage, EncodedFrame, Hello, Label, Original, Score,
    Welcome, catalogue_client::CatalogueClient, cloud_message::Body as CloudBody,
    edge_message::Body as EdgeBody, uplink_client::UplinkClient,
};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};
use uuid::Uuid;

pub const PROGRAM: [u8; 32] = [7; 32];
pub const BITS: u32 = 16;
/// Longer than anything here takes, even on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A decoder of 16 bits a patch with made-up weights: 8 hidden units, one linear layer, one 1x1 convolution.
pub fn write_decoder(path: &Path, program: [u8; 32]) {
    let mut seed = 1u32;
    let mut noise = |count: usize, reach: i32| -> Vec<i32> {
        let next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as i32 % (2 * reach + 1) - reach
        };
        std::iter::repeat_with(next).take(count).collect()
    };
    let bytes = |values: &[i32]| values.iter().map(|&value| value as u8).collect();
    let words = |values: &[i32]| {
        values
            .iter()
            .flat_map(|&v| (v as i16).to_le_bytes())
            .collect()
    };
    let wide = |values: &[i32]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
    const LARGEST: i32 = i16::MAX as i32;
    // Sums of the last layer are 16 times the 16ths of a gray level; mid-gray is 128.
    let gray = 128 * 16 * 16;
    let tensors: [(&str, Dtype, Vec<usize>, Vec<u8>); 11] = [
        (
            "synthesis.hidden.weight",
            Dtype::I16,
            vec![8, 16],
            words(&noise(8 * 16, 1000)),
        ),
        (
            "synthesis.hidden.bias",
            Dtype::I16,
            vec![8],
            words(&noise(8, 500)),
        ),
        (
            "synthesis.hidden.multiplier",
            Dtype::I16,
            vec![8],
            words(&[LARGEST; 8]),
        ),
        (
            "synthesis.weight",
            Dtype::I16,
            vec![64, 8],
            words(&noise(64 * 8, 100)),
        ),
        (
            "synthesis.bias",
            Dtype::I32,
            vec![64],
            wide(&noise(64, 100_000)),
        ),
        (
            "synthesis.multiplier",
            Dtype::I16,
            vec![64],
            words(&[LARGEST; 64]),
        ),
        ("synthesis.shift", Dtype::I32, vec![1], wide(&[10])),
        (
            "tail.weight",
            Dtype::I8,
            vec![192, 4, 1, 1],
            bytes(&noise(192 * 4, 63)),
        ),
        ("tail.bias", Dtype::I32, vec![192], wide(&[gray; 192])),
        (
            "tail.multiplier",
            Dtype::I16,
            vec![192],
            words(&[LARGEST; 192]),
        ),
        ("tail.reading", Dtype::I32, vec![3], wide(&[1000, 128, 4])),
    ];
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        let view = TensorView::new(*dtype, shape.clone(), data).expect("shape fits");
        (*name, view)
    });
    let stages = r#"{"stages": [
        {"kind": "patch_linear", "name": "synthesis", "bits": 16, "prefixes": [8], "hidden": 8, "grid": 4,
         "channels": 4},
        {"kind": "conv", "name": "tail", "in": 4, "out": 192, "kernel": 1, "relu": false},
        {"kind": "pixel_shuffle", "factor": 8}]}"#;
    let metadata = HashMap::from([
        ("format".to_owned(), "patchwire-decoder-2".to_owned()),
        ("program".to_owned(), hex::encode(program)),
        ("stages".to_owned(), stages.to_owned()),
    ]);
    let bytes = safetensors::serialize(views, Some(metadata)).expect("tiny decoder");
    fs::write(path, bytes).expect("tiny decoder file");
}

/// A service in a folder of its own.
pub struct Cloud {
    pub running: Running,
    pub config: Config,
    pub folder: TempDir,
}

impl Cloud {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = TempDir::new().expect("temporary folder");
        let decoder = folder.path().join("tiny.safetensors");
        write_decoder(&decoder, PROGRAM);
        let mut config = Config {
            data_dir: folder.path().join("data"),
            decoder: Some(decoder),
            ..Config::default()
        };
        config.http.listen.set_port(0);
        config.grpc.listen.set_port(0);
        config.decode.threads = 1;
        change(&mut config);
        let running = cloud_decoder::start(config.clone()).await.expect("start");
        Self {
            running,
            config,
            folder,
        }
    }

    /// Shuts down; its data on disk stays.
    pub async fn stop(self) -> (Config, TempDir) {
        self.running.shutdown().await;
        (self.config, self.folder)
    }

    /// Starts on the data on disk.
    pub async fn start_on(config: Config, folder: TempDir) -> Self {
        let running = cloud_decoder::start(config.clone()).await.expect("start");
        Self {
            running,
            config,
            folder,
        }
    }

    /// Shuts down and starts again on the same folder.
    pub async fn restart(self, change: impl FnOnce(&mut Config)) -> Self {
        let (mut config, folder) = self.stop().await;
        change(&mut config);
        Self::start_on(config, folder).await
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.http_addr)
    }

    pub async fn http(&self, path: &str) -> reqwest::Response {
        let get = testing::client().get(self.url(path)).send();
        timeout(LIMIT, get).await.expect("in time").expect("HTTP")
    }

    pub async fn json(&self, path: &str) -> Value {
        let response = self.http(path).await;
        assert_eq!(response.status(), 200, "GET {path}");
        response.json().await.expect("JSON")
    }

    /// Polls a frame's record until it has the state.
    pub async fn until(&self, id: Uuid, state: &str) -> Value {
        let path = format!("/api/v1/frames/{id}");
        self.wanted(&path, |frame| frame["state"] == state).await
    }

    /// Polls an answer until it meets a condition.
    pub async fn wanted(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        testing::eventually(path, LIMIT, async || {
            Some(self.json(path).await).filter(&wanted)
        })
        .await
    }

    pub async fn channel(&self) -> Channel {
        let address = format!("http://{}", self.running.grpc_addr);
        let endpoint = Channel::from_shared(address).expect("address");
        endpoint.connect().await.expect("gRPC connection")
    }

    pub async fn catalogue(&self) -> CatalogueClient<Channel> {
        CatalogueClient::new(self.channel().await)
    }

    pub async fn node(&self) -> Node {
        let mut node = Node::open(self).await;
        node.send(EdgeBody::Hello(hello())).await;
        node.welcome = Some(node.next_welcome().await);
        node
    }

    /// Files below the objects folder.
    pub fn objects(&self) -> usize {
        self.object_sizes().len()
    }

    /// Bytes of the files below the objects folder.
    pub fn object_bytes(&self) -> u64 {
        self.object_sizes().iter().sum()
    }

    /// Files of latents, which ingest alone writes.
    pub fn latents(&self) -> usize {
        self.sizes_below("objects/latents").len()
    }

    fn object_sizes(&self) -> Vec<u64> {
        self.sizes_below("objects")
    }

    fn sizes_below(&self, folder: &str) -> Vec<u64> {
        fn sizes(folder: &Path, found: &mut Vec<u64>) {
            for entry in fs::read_dir(folder).expect("objects") {
                let entry = entry.expect("entry");
                let name = entry.file_name();
                match entry.metadata().expect("metadata") {
                    // Not of a frame.
                    _ if name == "store-id" || name == "startup-checks" => {}
                    meta if meta.is_dir() => sizes(&entry.path(), found),
                    meta => found.push(meta.len()),
                }
            }
        }
        let mut found = Vec::new();
        sizes(&self.config.data_dir.join(folder), &mut found);
        found
    }
}

/// An edge node's end of the uplink.
pub struct Node {
    up: Option<mpsc::Sender<EdgeMessage>>,
    down: Streaming<CloudMessage>,
    pub welcome: Option<Welcome>,
}

pub fn hello() -> Hello {
    Hello {
        node_id: "node-1".to_owned(),
        software_version: "test".to_owned(),
        program_ids: vec![PROGRAM.to_vec().into()],
        programs: vec![],
    }
}

impl Node {
    /// Opens the stream without a hello.
    pub async fn open(cloud: &Cloud) -> Self {
        let (up, outbound) = mpsc::channel(256);
        let mut client =
            UplinkClient::new(cloud.channel().await).max_encoding_message_size(64 << 20);
        let down = client.stream(ReceiverStream::new(outbound)).await;
        Self {
            up: Some(up),
            down: down.expect("stream").into_inner(),
            welcome: None,
        }
    }

    pub async fn send(&self, body: EdgeBody) {
        let message = EdgeMessage { body: Some(body) };
        let up = self.up.as_ref().expect("not hung up");
        up.send(message).await.expect("uplink is open");
    }

    /// Ends the stream from this side.
    pub fn hang_up(&mut self) {
        self.up = None;
    }

    pub async fn next(&mut self) -> Result<Option<CloudBody>, Status> {
        let message = timeout(LIMIT, self.down.message()).await;
        Ok(message.expect("in time")?.and_then(|m| m.body))
    }

    async fn next_welcome(&mut self) -> Welcome {
        match self.next().await.expect("stream is up") {
            Some(CloudBody::Welcome(welcome)) => welcome,
            other => panic!("{other:?} in place of a welcome"),
        }
    }

    pub async fn next_ack(&mut self) -> Ack {
        match self.next().await.expect("stream is up") {
            Some(CloudBody::Ack(ack)) => ack,
            other => panic!("{other:?} in place of an ack"),
        }
    }

    pub async fn ack(&mut self, frame: EncodedFrame) -> (AckStatus, String) {
        let id = frame.frame_id.clone();
        self.send(EdgeBody::Frame(frame)).await;
        let ack = self.next_ack().await;
        assert_eq!(ack.frame_id, id, "ack of another frame");
        (ack.status(), ack.reason)
    }

    pub async fn accepted(&mut self, frame: EncodedFrame) -> Uuid {
        let id = Uuid::from_slice(&frame.frame_id).expect("frame id");
        let answer = self.ack(frame).await;
        assert_eq!(answer, (AckStatus::Accepted, String::new()));
        id
    }
}

/// A frame of a camera with latents and without label or original.
pub fn frame(camera: &str, width: u32, height: u32) -> EncodedFrame {
    let id = Uuid::now_v7();
    let patches = (width.div_ceil(32) * height.div_ceil(32)) as usize;
    let noise = id.as_bytes().iter().copied().cycle();
    let latents = LatentFrame {
        bits: BITS,
        width,
        height,
        program: PROGRAM,
        payload: noise.take(patches * 2).collect::<Vec<_>>().into(),
    };
    sealed(EncodedFrame {
        frame_id: id.as_bytes().to_vec().into(),
        camera_id: camera.to_owned(),
        captured_unix_ms: 1_790_000_000_000,
        width,
        height,
        latents: latents.encode(),
        source_format: "raw".to_owned(),
        encode_ns: 1_500_000,
        ..EncodedFrame::default()
    })
}

/// With the checksum that its bytes give.
pub fn sealed(mut frame: EncodedFrame) -> EncodedFrame {
    frame.crc32c = frame.compute_crc32c();
    frame
}

/// With a smooth picture of its size as original.
pub fn with_original(mut frame: EncodedFrame) -> EncodedFrame {
    let picture = image::RgbImage::from_fn(frame.width, frame.height, |x, y| {
        image::Rgb([x as u8, y as u8, (x + y) as u8])
    });
    let mut data = std::io::Cursor::new(Vec::new());
    picture
        .write_to(&mut data, image::ImageFormat::Png)
        .expect("PNG");
    frame.original = Some(Original {
        rgb_crc32c: None,
        media_type: "image/png".to_owned(),
        data: data.into_inner().into(),
    });
    sealed(frame)
}

pub fn label() -> Label {
    let score = |label: &str, score| Score {
        label: label.to_owned(),
        score,
    };
    Label {
        program_id: vec![9; 32].into(),
        scores: vec![score("ship", 0.75), score("truck", 0.25)],
    }
}

/// Only a label, without latents.
pub fn label_only(camera: &str) -> EncodedFrame {
    let mut frame = frame(camera, 40, 30);
    frame.latents = Bytes::new();
    frame.label = Some(label());
    sealed(frame)
}
