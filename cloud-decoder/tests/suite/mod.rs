//! The behaviour of catalogues, queues and objects, for every kind of store.
#![allow(dead_code, unreachable_pub, missing_docs)]

pub mod catalogue;
pub mod objects;
pub mod queue;
pub mod watchlist;

use cloud_decoder::{
    frame::{Arrival, Label, NewFrame, Score, Travelled, TravelledLatents},
    store::catalogue::{Catalogue, Database, FrameRows, Watchlist},
};
use uuid::Uuid;

/// A database and its handles.
#[derive(Clone)]
pub struct Handles {
    pub database: Database,
    pub catalogue: Catalogue,
    pub rows: FrameRows,
    pub watchlist: Watchlist,
}

impl From<Database> for Handles {
    fn from(database: Database) -> Self {
        Self {
            catalogue: Catalogue(database.clone()),
            rows: FrameRows(database.clone()),
            watchlist: Watchlist(database.clone()),
            database,
        }
    }
}

/// A frame with latents and a label, captured and received a second apart.
pub fn frame(camera: &str) -> NewFrame {
    NewFrame {
        id: Uuid::now_v7(),
        node_id: "node".to_owned(),
        camera_id: camera.to_owned(),
        captured_ms: 1_790_000_000_000,
        received_ms: 1_790_000_001_000,
        width: 64,
        height: 48,
        source_format: "jpeg".to_owned(),
        latent_bits: 1024,
        latent_ones: Some(0.5),
        bytes: 100,
        program_id: Some([7; 32]),
        label: Some(Label {
            program_id: [9; 32],
            scores: vec![Score {
                label: "ship".to_owned(),
                score: 0.75,
            }],
        }),
        original_type: Some("image/png".to_owned()),
        encode_ns: 1_500_000,
        source_bytes: 1000,
        latent_shares: vec![128; 256],
        scene_grid: vec![128; 64],
        arrival: Arrival {
            wire_bytes: 190,
            latents: Some(TravelledLatents {
                how: Travelled::Reference,
                bytes: 100,
            }),
        },
        original_bytes: 40,
        label_bytes: 30,
        original_crc32c: Some(0xfedc_ba98),
        digest: Some([5; 32]),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
    }
}

/// A frame that came with a label alone.
pub fn label_only(camera: &str) -> NewFrame {
    NewFrame {
        latent_bits: 0,
        latent_ones: None,
        program_id: None,
        original_type: None,
        latent_shares: Vec::new(),
        scene_grid: Vec::new(),
        original_bytes: 0,
        original_crc32c: None,
        bytes: 0,
        ..frame(camera)
    }
}
