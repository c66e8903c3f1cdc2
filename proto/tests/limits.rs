//! The checks of hello and frame messages.

use bytes::Bytes;
use latent::LatentFrame;
use patchwire_proto::{
    frame_crc32c,
    limits::{Invalid, check_frame, check_hello, check_id, check_status, check_welcome},
    v1::{
        CloudMessage, EncodedFrame, Hello, Label, NodeStatus, Original, Program, Score, Welcome,
        cloud_message::Body,
    },
    wire::Bounded as _,
};
use prost::Message as _;
use uuid::Uuid;

fn latents() -> LatentFrame {
    LatentFrame {
        bits: 8,
        width: 33,
        height: 20,
        program: [1; 32],
        payload: Bytes::from_static(&[5, 6]),
    }
}

fn frame() -> EncodedFrame {
    let mut frame = EncodedFrame {
        frame_id: Bytes::copy_from_slice(Uuid::now_v7().as_bytes()),
        camera_id: "gate-3".into(),
        captured_unix_ms: 1_700_000_000_000,
        width: 33,
        height: 20,
        latents: latents().encode(),
        label: Some(Label {
            program_id: vec![2; 32].into(),
            scores: vec![score("cat", 0.75), score("dog", 0.25)],
        }),
        original: Some(Original {
            media_type: "image/png".into(),
            data: vec![9; 10].into(),
            rgb_crc32c: None,
        }),
        source_format: "raw".into(),
        crc32c: 0,
        encode_ns: 1,
        source_bytes: 1000,
        traceparent: String::new(),
        coded_latents: Bytes::new(),
    };
    frame.crc32c = frame.compute_crc32c();
    frame
}

fn score(label: &str, score: f32) -> Score {
    Score {
        label: label.into(),
        score,
    }
}

fn program() -> Program {
    Program {
        id: vec![2; 32].into(),
        name: "compress".into(),
        latent_bits: 256,
        layers: 9,
        macs_per_patch: 12_000_000,
        weight_bits: 900_000,
        budget_bits: 1 << 20,
        ..Program::default()
    }
}

#[test]
fn good_messages_pass() {
    assert_eq!(check_frame(&frame()), Ok(Some(latents())));
    let mut label_only = EncodedFrame {
        latents: Bytes::new(),
        original: None,
        ..frame()
    };
    label_only.crc32c = label_only.compute_crc32c();
    assert_eq!(check_frame(&label_only), Ok(None));
    let hello = Hello {
        node_id: "node.1_a-B".into(),
        software_version: "0.1.0".into(),
        program_ids: vec![vec![0; 32].into()],
        programs: vec![program()],
    };
    assert_eq!(check_hello(&hello), Ok(()));
    assert_eq!(check_status(&NodeStatus::default()), Ok(()));
}

#[test]
fn checksum_runs_over_latents_then_original() {
    assert_eq!(frame_crc32c(b"1234", b"56789"), 0xe306_9283);
    assert_eq!(frame_crc32c(b"123456789", b""), 0xe306_9283);
}

#[test]
fn ids_have_a_small_alphabet() {
    for good in ["a", "A-z_0.9", &"x".repeat(64)] {
        assert_eq!(check_id("camera_id", good), Ok(()));
    }
    for bad in ["", "a b", "a/b", "a\n", "ü", "a\0", &"x".repeat(65)] {
        let error = check_id("camera_id", bad).expect_err(bad).to_string();
        assert!(error.starts_with("camera_id "), "{error}");
    }
}

#[test]
fn each_wrong_field_is_named() {
    type Edit = fn(&mut EncodedFrame);
    let cases: [(&str, Edit); 16] = [
        ("frame_id", |f| f.frame_id = Bytes::from_static(&[1; 15])),
        ("frame_id", |f| f.frame_id = Bytes::from_static(&[1; 16])),
        ("camera_id", |f| f.camera_id = "a/b".into()),
        ("captured_unix_ms", |f| f.captured_unix_ms = -1),
        ("pixels", |f| f.width = 0),
        ("pixels", |f| f.height = 16_385),
        ("source_format", |f| f.source_format = "x".repeat(129)),
        ("program_id", |f| {
            f.label.as_mut().unwrap().program_id = Bytes::new()
        }),
        ("scores", |f| f.label.as_mut().unwrap().scores.clear()),
        ("scores", |f| {
            f.label.as_mut().unwrap().scores = vec![score("x", 0.1); 17]
        }),
        ("label text", |f| {
            f.label.as_mut().unwrap().scores[0].label.clear()
        }),
        ("score", |f| {
            f.label.as_mut().unwrap().scores[0].score = f32::NAN
        }),
        ("sorted", |f| f.label.as_mut().unwrap().scores.reverse()),
        ("media type", |f| {
            f.original.as_mut().unwrap().media_type = "image/gif".into()
        }),
        ("original", |f| {
            f.original.as_mut().unwrap().data = Bytes::new()
        }),
        ("checksum", |f| f.crc32c ^= 1),
    ];
    for (word, edit) in cases {
        let mut bad = frame();
        edit(&mut bad);
        let sentence = check_frame(&bad).expect_err(word).to_string();
        assert!(sentence.contains(word), "{word}: {sentence}");
        assert!(
            !sentence.contains('\n') && !sentence.ends_with('.'),
            "{sentence}"
        );
    }
}

#[test]
fn latents_must_be_whole_and_of_the_frame_size() {
    let with = |edit: fn(&mut EncodedFrame)| {
        let mut frame = frame();
        edit(&mut frame);
        frame.crc32c = frame.compute_crc32c();
        check_frame(&frame).expect_err("must be refused")
    };
    assert!(matches!(
        with(|f| f.latents = f.latents.slice(1..)),
        Invalid::Latents(_)
    ));
    assert!(matches!(with(|f| f.width = 32), Invalid::LatentSize { .. }));
    let nothing = with(|f| {
        f.latents = Bytes::new();
        f.label = None;
    });
    assert_eq!(nothing, Invalid::Empty);
}

#[test]
fn hello_is_checked() {
    let good = Hello {
        node_id: "n".into(),
        ..Hello::default()
    };
    assert_eq!(check_hello(&good), Ok(()));
    for bad in [
        Hello {
            node_id: String::new(),
            ..good.clone()
        },
        Hello {
            software_version: "v".repeat(129),
            ..good.clone()
        },
        Hello {
            program_ids: vec![Bytes::from_static(&[0; 31])],
            ..good.clone()
        },
        Hello {
            program_ids: vec![vec![0; 32].into(); 17],
            ..good.clone()
        },
        Hello {
            programs: vec![program(); 17],
            ..good.clone()
        },
        Hello {
            programs: vec![Program {
                id: Bytes::from_static(&[0; 33]),
                ..program()
            }],
            ..good.clone()
        },
        Hello {
            programs: vec![Program {
                name: "n".repeat(129),
                ..program()
            }],
            ..good.clone()
        },
        Hello {
            programs: vec![Program {
                map_bits: u64::MAX,
                ..program()
            }],
            ..good.clone()
        },
    ] {
        assert!(check_hello(&bad).is_err(), "{bad:?}");
    }
}

#[test]
fn status_and_source_bytes_have_bounds() {
    for (bad, field) in [
        (
            NodeStatus {
                spool_bytes: u64::MAX,
                ..NodeStatus::default()
            },
            "spool_bytes",
        ),
        (
            NodeStatus {
                dropped_frames: u64::MAX,
                ..NodeStatus::default()
            },
            "dropped_frames",
        ),
        (
            NodeStatus {
                held_frames: u64::MAX,
                ..NodeStatus::default()
            },
            "held_frames",
        ),
    ] {
        let said = check_status(&bad).expect_err(field).to_string();
        assert!(said.starts_with(field), "{said}");
    }
    let mut huge = frame();
    huge.source_bytes = 1 << 40;
    let said = check_frame(&huge).expect_err("too large").to_string();
    assert!(said.starts_with("source_bytes is 1099511627776"), "{said}");
}

#[test]
fn what_a_welcome_offers_of_the_codec_has_bounds() {
    let good = Welcome {
        codec_versions: vec![1; 16],
        prior_ids: vec![vec![1; 8].into(); 64],
        reference_bytes: 64 << 20,
        ..Welcome::default()
    };
    assert_eq!(check_welcome(&good), Ok(()));
    assert_eq!(check_welcome(&Welcome::default()), Ok(()));
    assert_eq!(CloudMessage::check_wire(&message(&good)), Ok(()));
    let with = |change: fn(&mut Welcome)| {
        let mut bad = good.clone();
        change(&mut bad);
        bad
    };
    for (bad, field) in [
        (with(|w| w.codec_versions = vec![1; 17]), "codec_versions"),
        (
            with(|w| w.prior_ids = vec![vec![1; 8].into(); 65]),
            "prior_ids",
        ),
        (with(|w| w.prior_ids[3] = vec![1; 7].into()), "prior_id"),
        (with(|w| w.reference_bytes += 1), "reference_bytes"),
    ] {
        let said = check_welcome(&bad).expect_err(field).to_string();
        assert!(said.starts_with(field), "{said}");
    }
    // Before anything of them is decoded.
    for bad in [
        with(|w| w.codec_versions = vec![1; 81]),
        with(|w| w.prior_ids = vec![Bytes::new(); 65]),
    ] {
        assert!(CloudMessage::check_wire(&message(&bad)).is_err(), "{bad:?}");
    }
}

fn message(welcome: &Welcome) -> Vec<u8> {
    let body = Some(Body::Welcome(welcome.clone()));
    CloudMessage { body }.encode_to_vec()
}

/// Nodes and clouds are not updated at the same moment.
#[test]
fn the_version_before_reads_what_this_one_adds() {
    #[derive(Clone, PartialEq, prost::Message)]
    struct HelloBefore {
        #[prost(string, tag = "1")]
        node_id: String,
        #[prost(bytes = "bytes", repeated, tag = "3")]
        program_ids: Vec<Bytes>,
    }
    let hello = Hello {
        node_id: "n".into(),
        program_ids: vec![vec![2; 32].into()],
        programs: vec![program()],
        ..Hello::default()
    };
    let before = HelloBefore::decode(&*hello.encode_to_vec()).expect("unknown fields are skipped");
    assert_eq!(before.node_id, "n");
    let now = Hello::decode(&*before.encode_to_vec()).expect("missing fields are empty");
    assert_eq!(check_hello(&now), Ok(()));
    assert!(now.programs.is_empty());
    let welcome = Welcome::decode(&[][..]).expect("a welcome of the version before");
    assert!(!welcome.takes_status);
    assert!(welcome.codec_versions.is_empty() && welcome.prior_ids.is_empty());
    assert_eq!(welcome.reference_bytes, 0);
}
