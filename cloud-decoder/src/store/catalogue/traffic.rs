//! Bytes by day, edge node and camera.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    CatalogueError, Watchlist,
    from_row::from_row,
    statement::{Statement, sql},
    sums::saturate,
    watches::MAX_WATCHED,
};
use crate::frame::{NewFrame, Travelled};

/// Bytes between cameras, edge nodes and this service. HTTP/2, TLS and TCP are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Bytes {
    /// Frames, each counted once.
    pub frames: i64,
    /// Of these, those whose edge node reported the bytes that the camera sent.
    pub told_frames: i64,
    /// Bytes that cameras sent to their edge nodes.
    pub source_bytes: i64,
    /// Latents as they travelled, in containers or coded.
    pub latent_bytes: i64,
    /// Of these, those that were coded alone.
    pub intra_bytes: i64,
    /// Of these, those that were coded with a reference to the camera's frame before.
    pub reference_bytes: i64,
    /// Bytes that latents would have had more in containers.
    pub saved_bytes: i64,
    /// Labels.
    pub label_bytes: i64,
    /// Originals.
    pub original_bytes: i64,
    /// The rest of the messages, and frames that were sent again.
    pub overhead_bytes: i64,
}

from_row! {
    Bytes:
        frames, told_frames, source_bytes, latent_bytes, intra_bytes, reference_bytes, saved_bytes,
        label_bytes, original_bytes, overhead_bytes
}

/// Columns of the table `traffic` after the day, the node and the camera, in the order of [`Bytes::columns`].
const COLUMNS: [&str; 10] = [
    "frames",
    "told_frames",
    "source_bytes",
    "latent_bytes",
    "intra_bytes",
    "reference_bytes",
    "saved_bytes",
    "label_bytes",
    "original_bytes",
    "overhead_bytes",
];

impl Bytes {
    fn columns(self) -> [i64; COLUMNS.len()] {
        [
            self.frames,
            self.told_frames,
            self.source_bytes,
            self.latent_bytes,
            self.intra_bytes,
            self.reference_bytes,
            self.saved_bytes,
            self.label_bytes,
            self.original_bytes,
            self.overhead_bytes,
        ]
    }

    /// The sum of two.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            frames: self.frames + other.frames,
            told_frames: self.told_frames + other.told_frames,
            source_bytes: self.source_bytes + other.source_bytes,
            latent_bytes: self.latent_bytes + other.latent_bytes,
            intra_bytes: self.intra_bytes + other.intra_bytes,
            reference_bytes: self.reference_bytes + other.reference_bytes,
            saved_bytes: self.saved_bytes + other.saved_bytes,
            label_bytes: self.label_bytes + other.label_bytes,
            original_bytes: self.original_bytes + other.original_bytes,
            overhead_bytes: self.overhead_bytes + other.overhead_bytes,
        }
    }

    /// All bytes that came from edge nodes.
    pub fn uplink(&self) -> i64 {
        self.latent_bytes + self.label_bytes + self.original_bytes + self.overhead_bytes
    }
}

/// The rows of a traffic table: one for each day, edge node or camera.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TrafficBy {
    /// Days, named YYYY-MM-DD in UTC.
    #[default]
    Day,
    /// Edge nodes.
    Node,
    /// Cameras.
    Camera,
}

/// Bytes of a day, a node or a camera.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TrafficLine {
    /// The day's number since 1970-01-01, or the id of the node or the camera.
    pub name: String,
    /// Its bytes.
    #[serde(flatten)]
    pub bytes: Bytes,
}

from_row! { TrafficLine: name; flatten bytes }

/// Selects the bytes to sum.
#[derive(Clone, Debug, Default)]
pub struct TrafficSpan {
    /// First day, since 1970-01-01 in UTC.
    pub from_day: i64,
    /// All cameras when `None`.
    pub camera: Option<String>,
    /// All nodes when `None`.
    pub node: Option<String>,
    /// The kind of a line.
    pub by: TrafficBy,
}

/// The bytes of a frame that arrived for the first time.
pub(super) fn frame_traffic(new: &NewFrame) -> Bytes {
    let (label, original) = (saturate(new.label_bytes), saturate(new.original_bytes));
    let container = saturate(new.container_bytes());
    let latents = new.arrival.latents;
    let travelled = latents.map_or(container, |latents| saturate(latents.bytes));
    let of = |how| match latents {
        Some(latents) if latents.how == how => travelled,
        _ => 0,
    };
    Bytes {
        frames: 1,
        told_frames: (new.source_bytes > 0).into(),
        source_bytes: saturate(new.source_bytes),
        latent_bytes: travelled,
        intra_bytes: of(Travelled::Intra),
        reference_bytes: of(Travelled::Reference),
        saved_bytes: (container - travelled).max(0),
        label_bytes: label,
        original_bytes: original,
        overhead_bytes: (saturate(new.arrival.wire_bytes) - travelled - label - original).max(0),
    }
}

/// Adds bytes to those of a node and a camera on one day, since 1970-01-01 in UTC.
pub(super) fn add_traffic(day: i64, node: &str, camera: &str, bytes: Bytes) -> Statement {
    let mut insert = sql("INSERT INTO traffic (day, node_id, camera_id")
        .push(&COLUMNS.map(|sum| format!(", {sum}")).concat())
        .push(") VALUES ($1, $2, $3")
        .bind(day)
        .bind(node)
        .bind(camera);
    for sum in bytes.columns() {
        insert = insert.next(sum);
    }
    let sums = COLUMNS.map(|sum| format!("{sum} = traffic.{sum} + excluded.{sum}"));
    insert
        .push(") ON CONFLICT (day, node_id, camera_id) DO UPDATE SET ")
        .push(&sums.join(", "))
}

impl Watchlist {
    /// Counts bytes of a frame that was sent again.
    ///
    /// # Errors
    /// The database failed.
    pub async fn came_again(
        &self,
        day: i64,
        node: &str,
        camera: &str,
        bytes: u64,
    ) -> Result<(), CatalogueError> {
        let bytes = Bytes {
            overhead_bytes: saturate(bytes),
            ..Bytes::default()
        };
        self.0.execute(add_traffic(day, node, camera, bytes)).await
    }

    /// Bytes, in the order of the lines' names.
    ///
    /// # Errors
    /// The database failed.
    pub async fn traffic(&self, span: &TrafficSpan) -> Result<Vec<TrafficLine>, CatalogueError> {
        let name = match span.by {
            TrafficBy::Day => "CAST(day AS TEXT)",
            TrafficBy::Node => "node_id",
            TrafficBy::Camera => "camera_id",
        };
        let sums = COLUMNS.map(|sum| format!(", CAST(sum({sum}) AS BIGINT) AS {sum}"));
        let mut query = sql("SELECT ")
            .push(name)
            .push(" AS name")
            .push(&sums.concat());
        query = query
            .push(" FROM traffic WHERE day >= ")
            .value(span.from_day);
        if let Some(camera) = &span.camera {
            query = query.push(" AND camera_id = ").value(camera.as_str());
        }
        if let Some(node) = &span.node {
            query = query.push(" AND node_id = ").value(node.as_str());
        }
        let query = query.push(" GROUP BY 1 ORDER BY 1 LIMIT ");
        self.0.rows(query.value(MAX_WATCHED)).await
    }
}
