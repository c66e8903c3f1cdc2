//! Latents that travel coded, and with references to frames that went over the same stream.

mod support;

use std::{fs, sync::Arc};

use latent::{
    LatentFrame, codec::Header, prior::Prior, references::References, stream::StreamEncoder,
};
use patchwire_proto::v1::{
    AckStatus, EncodedFrame, FrameRecord, GetFrameRequest, Travelled,
    edge_message::Body as EdgeBody,
};
use support::{Cloud, Node, frame, label_only, sealed, with_original};
use tonic::{Code, Status};
use uuid::Uuid;

fn shipped() -> Prior {
    Prior::from_bytes(patchwire_models::PRIOR).expect("the shipped prior")
}

/// The shipped prior as that of another program.
fn other_prior() -> Vec<u8> {
    let mut file = patchwire_models::PRIOR.to_vec();
    file[4..36].copy_from_slice(&[0xab; 32]);
    file
}

/// Latents of a program in which nothing repeats.
fn latents(prior: &Prior, width: u32, height: u32, bits: u32, seed: u32) -> LatentFrame {
    let bytes = width.div_ceil(32) * height.div_ceil(32) * bits / 8;
    let mixed = |i: u32| (i ^ i >> 15).wrapping_mul(0x2c1b_3c6d);
    let byte = |i: u32| (mixed(mixed(i.wrapping_add(seed << 16))) >> 24) as u8;
    LatentFrame {
        bits,
        width,
        height,
        program: *prior.program(),
        payload: (0..bytes).map(byte).collect(),
    }
}

/// A plain frame with these latents.
fn plain(camera: &str, latents: &LatentFrame) -> EncodedFrame {
    sealed(EncodedFrame {
        latents: latents.encode(),
        ..frame(camera, latents.width, latents.height)
    })
}

/// The sending end of a node's stream.
struct Sender {
    node: Node,
    encoder: StreamEncoder,
}

impl Sender {
    async fn open(cloud: &Cloud, priors: Vec<Prior>) -> Self {
        let node = cloud.node().await;
        let welcome = node.welcome.as_ref().expect("a welcome");
        let table_bytes = welcome.reference_bytes as usize;
        let encoder = StreamEncoder::new(priors.into_iter().map(Arc::new), table_bytes);
        Self { node, encoder }
    }

    /// The frame as it travels.
    fn code(&mut self, plain: &EncodedFrame) -> EncodedFrame {
        let latents = LatentFrame::decode(plain.latents.clone()).expect("a container");
        let coded = self.encoder.encode(&plain.camera_id, &latents);
        EncodedFrame {
            latents: Vec::new().into(),
            coded_latents: coded.expect("a prior").bytes,
            ..plain.clone()
        }
    }

    async fn send(&mut self, plain: &EncodedFrame) -> (AckStatus, String) {
        let coded = self.code(plain);
        self.node.ack(coded).await
    }

    /// Sends a frame coded, which is then stored as it is.
    async fn stored(&mut self, cloud: &Cloud, plain: &EncodedFrame) {
        let coded = self.code(plain);
        let header = Header::read(&coded.coded_latents).expect("a header");
        let wire_bytes = coded.coded_latents.len();
        let (status, reason) = self.node.ack(coded).await;
        assert_eq!(status, AckStatus::Accepted, "{reason}");
        let record = is_stored(cloud, plain).await;
        let travelled = if header.referenced {
            "reference"
        } else {
            "intra"
        };
        assert_eq!(record["latents"]["travelled"], travelled);
        assert_eq!(record["latents"]["wire_bytes"], wire_bytes);
        assert_eq!(record["latents"]["container_bytes"], plain.latents.len());
    }

    /// Sends what ends the stream.
    async fn fails(mut self, frame: EncodedFrame) -> Status {
        self.node.send(EdgeBody::Frame(frame)).await;
        self.node.next().await.expect_err("an end")
    }
}

/// The record of a frame whose stored container is that of `plain`.
async fn is_stored(cloud: &Cloud, plain: &EncodedFrame) -> serde_json::Value {
    let id = Uuid::from_slice(&plain.frame_id).expect("an id");
    let container = format!("/api/v1/frames/{id}/latents.pwl");
    let container = cloud.http(&container).await.bytes().await;
    let container = container.expect("bytes");
    assert!(container == plain.latents, "frame {id} was altered");
    cloud.json(&format!("/api/v1/frames/{id}")).await
}

async fn record(cloud: &Cloud, plain: &EncodedFrame) -> FrameRecord {
    let frame_id = plain.frame_id.clone();
    let request = GetFrameRequest { frame_id };
    let answer = cloud.catalogue().await.get_frame(request).await;
    answer.expect("a record").into_inner()
}

#[tokio::test]
async fn coded_frames_are_stored_as_the_edge_encoded_them() {
    let cloud = Cloud::start_with(|config| {
        let decoders = config.data_dir.with_file_name("decoders");
        fs::create_dir(&decoders).expect("a folder");
        fs::write(decoders.join("other.pwp"), other_prior()).expect("a prior");
        config.decoders = Some(decoders);
    })
    .await;
    let (one, other) = (shipped(), Prior::from_bytes(&other_prior()).expect("prior"));
    let mut sender = Sender::open(&cloud, vec![one.clone(), other.clone()]).await;
    let mut seed = 0;
    // Two cameras, two programs, two sizes, and rates that rise and fall, all in turn.
    for bits in [256, 64, 128, 256] {
        for (width, height) in [(320, 240), (200, 180)] {
            for prior in [&one, &other] {
                for camera in ["gate", "yard"] {
                    seed += 1;
                    let latents = latents(prior, width, height, bits, seed / 5);
                    sender.stored(&cloud, &plain(camera, &latents)).await;
                }
            }
        }
    }
    let with_label = with_original(plain("gate", &latents(&one, 64, 64, 256, 9)));
    let with_label = sealed(EncodedFrame {
        label: label_only("gate").label,
        ..with_label
    });
    sender.stored(&cloud, &with_label).await;
    let told = record(&cloud, &with_label).await;
    assert_ne!(told.latents_travelled(), Travelled::Plain);
    assert_ne!(told.latents_travelled(), Travelled::Unspecified);
    assert_eq!(told.container_bytes, with_label.latents.len() as u64);
}

#[tokio::test]
async fn a_frame_like_the_one_before_travels_in_few_bytes() {
    let cloud = Cloud::start().await;
    let prior = shipped();
    let mut sender = Sender::open(&cloud, vec![prior.clone()]).await;
    let mut latents = latents(&prior, 320, 240, 256, 1);
    let mut travelled = Vec::new();
    for changed in 0..3 {
        let mut patches = latents.payload.to_vec();
        patches[changed] ^= 1;
        latents.payload = patches.into();
        // The camera of another name has no reference yet.
        for camera in ["gate", "yard"] {
            let frame = plain(camera, &latents);
            sender.stored(&cloud, &frame).await;
            let way = is_stored(&cloud, &frame).await["latents"].clone();
            travelled.push((way["travelled"].clone(), way["wire_bytes"].as_u64()));
        }
    }
    let (first, later) = travelled.split_at(2);
    assert!(first.iter().all(|(way, _)| way == "intra"), "{travelled:?}");
    let (_, whole) = first[0];
    for (way, bytes) in later {
        assert_eq!(way, "reference", "{travelled:?}");
        assert!(bytes < &whole.map(|whole| whole / 4), "{travelled:?}");
    }
}

#[tokio::test]
async fn the_welcome_offers_the_codec_and_its_priors_and_a_table() {
    let cloud = Cloud::start_with(|config| config.grpc.reference_bytes = 12_345).await;
    let node = cloud.node().await;
    let welcome = node.welcome.as_ref().expect("a welcome");
    assert_eq!(welcome.codec_versions, [u32::from(latent::codec::VERSION)]);
    assert_eq!(welcome.prior_ids, [shipped().id().0.to_vec()]);
    assert_eq!(welcome.reference_bytes, 12_345);
}

#[tokio::test]
async fn both_ends_drop_the_same_references_from_a_table_that_is_too_small() {
    let prior = shipped();
    let frame = |camera: u32, seed| latents(&prior, 320, 240, 256, camera + seed);
    // Room for two of five cameras, and for none of the large frames.
    let room = 2 * entry_bytes(&frame(0, 0)) + 100;
    let cloud = Cloud::start_with(|config| config.grpc.reference_bytes = room).await;
    let mut sender = Sender::open(&cloud, vec![prior.clone()]).await;
    for (at, camera) in [0, 1, 0, 2, 0, 3, 4, 4, 0, 1, 1, 2].into_iter().enumerate() {
        let name = format!("camera-{camera}");
        sender
            .stored(&cloud, &plain(&name, &frame(camera, at as u32 / 4)))
            .await;
        if at % 3 == 0 {
            let large = latents(&prior, 1280, 720, 256, at as u32);
            sender.stored(&cloud, &plain(&name, &large)).await;
        }
        let held = table_bytes(&cloud).await;
        assert!(held <= room as f64, "{held} bytes of {room}");
    }
}

/// Bytes that a frame takes in a table.
fn entry_bytes(frame: &LatentFrame) -> usize {
    let mut table = References::new(usize::MAX);
    table.keep("gate", frame.clone());
    table.bytes()
}

/// Bytes of all tables of the cloud.
async fn table_bytes(cloud: &Cloud) -> f64 {
    let text = cloud.http("/metrics").await.text().await.expect("text");
    let name = "cloud_decoder_uplink_reference_bytes ";
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.expect("the metric").parse().expect("a number")
}

#[tokio::test]
async fn a_frame_that_is_not_stored_is_referred_to_all_the_same() {
    let cloud = Cloud::start().await;
    let prior = shipped();
    let mut sender = Sender::open(&cloud, vec![prior.clone()]).await;
    let first = plain("gate", &latents(&prior, 320, 240, 256, 1));
    sender.stored(&cloud, &first).await;

    // Sent again, as after a lost ack.
    assert_eq!(sender.send(&first).await.0, AckStatus::Duplicate);
    sender
        .stored(&cloud, &plain("gate", &latents(&prior, 320, 240, 256, 2)))
        .await;

    let refused = EncodedFrame {
        captured_unix_ms: -1,
        ..plain("gate", &latents(&prior, 320, 240, 256, 3))
    };
    assert_eq!(sender.send(&refused).await.0, AckStatus::Rejected);
    let mut conflict = plain("gate", &latents(&prior, 320, 240, 256, 4));
    conflict.frame_id = first.frame_id.clone();
    assert_eq!(sender.send(&conflict).await.0, AckStatus::Rejected);
    sender
        .stored(&cloud, &plain("gate", &latents(&prior, 320, 240, 256, 5)))
        .await;
    is_stored(&cloud, &first).await;
}

#[tokio::test]
async fn a_frame_is_the_same_however_it_travels() {
    let cloud = Cloud::start().await;
    let prior = shipped();
    let frames = [1, 2].map(|seed| plain("gate", &latents(&prior, 320, 240, 256, seed)));
    let mut sender = Sender::open(&cloud, vec![prior]).await;
    sender.stored(&cloud, &frames[0]).await;
    let (status, _) = sender.node.ack(frames[1].clone()).await;
    assert_eq!(status, AckStatus::Accepted);
    let travelled = &is_stored(&cloud, &frames[1]).await["latents"]["travelled"];
    assert_eq!(travelled, "plain");

    let (again, _) = sender.node.ack(frames[0].clone()).await;
    assert_eq!(again, AckStatus::Duplicate, "coded, then plain");
    let (again, _) = sender.send(&frames[1]).await;
    assert_eq!(again, AckStatus::Duplicate, "plain, then coded");
}

#[tokio::test]
async fn a_stream_begins_without_the_references_of_another() {
    let cloud = Cloud::start().await;
    let prior = shipped();
    let frames: Vec<_> = (0..4)
        .map(|seed| plain("gate", &latents(&prior, 320, 240, 256, seed)))
        .collect();
    for pair in frames.chunks(2) {
        let mut sender = Sender::open(&cloud, vec![prior.clone()]).await;
        for frame in pair {
            sender.stored(&cloud, frame).await;
        }
    }
    // Two nodes with a camera of the same name.
    let mut senders = [
        Sender::open(&cloud, vec![prior.clone()]).await,
        Sender::open(&cloud, vec![prior.clone()]).await,
    ];
    for seed in 10..16 {
        let frame = plain("gate", &latents(&prior, 320, 240, 256, seed));
        senders[seed as usize % 2].stored(&cloud, &frame).await;
    }
}

#[tokio::test]
async fn damaged_latents_end_the_stream_and_arrive_on_the_next() {
    let cloud = Cloud::start().await;
    let prior = shipped();
    let frames = [1, 2].map(|seed| plain("gate", &latents(&prior, 320, 240, 256, seed)));
    for cut in [false, true] {
        let mut sender = Sender::open(&cloud, vec![prior.clone()]).await;
        sender.send(&frames[0]).await;
        let mut damaged = sender.code(&frames[1]);
        let mut bytes = damaged.coded_latents.to_vec();
        match cut {
            true => bytes.truncate(bytes.len() / 2),
            false => bytes[100] ^= 16,
        }
        damaged.coded_latents = bytes.into();
        let status = sender.fails(damaged).await;
        assert_eq!(status.code(), Code::DataLoss, "{status}");
    }
    let mut sender = Sender::open(&cloud, vec![prior]).await;
    assert_eq!(sender.send(&frames[0]).await.0, AckStatus::Duplicate);
    sender.stored(&cloud, &frames[1]).await;
}

#[tokio::test]
async fn what_breaks_the_protocol_ends_the_stream() {
    let cloud = Cloud::start_with(|config| {
        config.decode.max_pixels = 320 * 240;
        config.grpc.max_message_bytes = 64 << 10;
    })
    .await;
    let prior = shipped();
    let whole = plain("gate", &latents(&prior, 320, 240, 256, 1));
    let mut unknown = other_prior();
    unknown[5] = 0;
    let unknown = Prior::from_bytes(&unknown).expect("a prior");
    let coded = |encode: &dyn Fn(&mut Vec<u8>)| {
        let mut coded =
            latent::codec::encode(&prior, &latents(&prior, 320, 240, 256, 1), None).to_vec();
        encode(&mut coded);
        EncodedFrame {
            latents: Vec::new().into(),
            coded_latents: coded.into(),
            ..whole.clone()
        }
    };
    let both = EncodedFrame {
        latents: whole.latents.clone(),
        ..coded(&|_| ())
    };
    let original = vec![0; 63 << 10];
    let large = EncodedFrame {
        original: Some(patchwire_proto::v1::Original {
            media_type: "image/png".to_owned(),
            data: original.into(),
            rgb_crc32c: None,
        }),
        ..coded(&|bytes| bytes.truncate(100))
    };
    let nameless = EncodedFrame {
        camera_id: "x".repeat(20_000),
        ..coded(&|_| ())
    };
    for (frame, said) in [
        (both, "both latents and coded latents"),
        (nameless, "camera_id"),
        (
            coded(&|bytes| bytes.truncate(19)),
            "shorter than their 20 bytes of header",
        ),
        (coded(&|bytes| bytes[0] = 9), "version 9"),
        (coded(&|bytes| bytes[4..6].fill(0xff)), "outside 1 to 16384"),
        // A frame of 16384x16384 pixels of 4096 bits a patch.
        (
            coded(&|bytes| bytes[2..8].copy_from_slice(&[0, 16, 0, 64, 0, 64])),
            "268435456 pixels, more than the 76800",
        ),
        (large, "with the original more than the 65536"),
        (
            coded(&|bytes| bytes[8..16].copy_from_slice(&unknown.id().0)),
            "which is not known here",
        ),
    ] {
        let sender = Sender::open(&cloud, vec![prior.clone()]).await;
        let status = sender.fails(frame).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().contains(said), "{status}");
    }
    // A plain frame of that kind is refused by itself.
    let mut sender = Sender::open(&cloud, vec![prior.clone()]).await;
    let large = plain("gate", &latents(&prior, 352, 240, 64, 1));
    let (status, reason) = sender.node.ack(large).await;
    assert_eq!(status, AckStatus::Rejected, "{reason}");
    sender.stored(&cloud, &whole).await;
}

#[tokio::test]
async fn the_tables_of_all_streams_are_bounded_together() {
    let prior = shipped();
    let frames: Vec<_> = (0..6)
        .map(|seed| {
            plain(
                &format!("camera-{seed}"),
                &latents(&prior, 320, 240, 256, seed),
            )
        })
        .collect();
    // Room for three of the six cameras.
    let one = entry_bytes(&latents(&prior, 320, 240, 256, 0));
    let cloud = Cloud::start_with(|config| {
        config.grpc.reference_bytes = 3 * one;
        config.grpc.all_reference_bytes = 3 * one;
    })
    .await;
    let mut first = Sender::open(&cloud, vec![prior.clone()]).await;
    let mut second = Sender::open(&cloud, vec![prior.clone()]).await;
    for frame in &frames[..2] {
        first.stored(&cloud, frame).await;
    }
    second.stored(&cloud, &frames[2]).await;
    assert!(table_bytes(&cloud).await <= 3.0 * one as f64);
    let beyond = second.code(&frames[3]);
    let status = second.fails(beyond).await;
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");

    // The next stream goes without, and what the others gave back is there again.
    let mut third = Sender::open(&cloud, vec![prior.clone()]).await;
    let welcome = third.node.welcome.as_ref().expect("a welcome");
    assert_eq!(welcome.reference_bytes, 0);
    for frame in &frames[3..] {
        third.stored(&cloud, frame).await;
    }
    drop((first, third));
    testing::eventually("the tables are gone", support::LIMIT, async || {
        (table_bytes(&cloud).await == 0.0).then_some(())
    })
    .await;
    let fourth = Sender::open(&cloud, vec![prior]).await;
    let welcome = fourth.node.welcome.as_ref().expect("a welcome");
    assert_eq!(welcome.reference_bytes, 3 * one as u64);
}

#[tokio::test]
async fn bytes_are_counted_as_they_travelled() {
    let cloud = Cloud::start().await;
    let prior = shipped();
    let mut sender = Sender::open(&cloud, vec![prior.clone()]).await;
    let (mut coded_bytes, mut container_bytes) = (0, 0);
    for seed in 0..3 {
        let frame = plain("gate", &latents(&prior, 320, 240, 256, seed));
        let coded = sender.code(&frame);
        coded_bytes += coded.coded_latents.len();
        container_bytes += frame.latents.len();
        let wire_bytes = prost::Message::encoded_len(&coded) + 5;
        sender.node.ack(coded).await;
        let record = is_stored(&cloud, &frame).await;
        assert_eq!(record["wire_bytes"], wire_bytes);
    }
    let traffic = cloud.json("/api/v1/traffic?by=camera").await;
    let line = &traffic["lines"][0];
    assert_eq!(line["latent_bytes"], coded_bytes);
    assert_eq!(line["saved_bytes"], container_bytes - coded_bytes);
    let bytes = |kind: &str| line[kind].as_u64().expect("bytes") as usize;
    assert_eq!(bytes("intra_bytes") + bytes("reference_bytes"), coded_bytes);
    let text = cloud.http("/metrics").await.text().await.expect("text");
    for (name, bytes) in [("latent", coded_bytes), ("container", container_bytes)] {
        let name = format!("cloud_decoder_uplink_{name}_bytes_total{{");
        let values = text.lines().filter_map(|line| line.strip_prefix(&name));
        let values = values.filter_map(|line| line.rsplit_once(' ')?.1.parse::<usize>().ok());
        assert_eq!(values.sum::<usize>(), bytes, "{name}");
    }
}
