//! New rows. Frames come before cameras, and cameras in the order of their names, so that transactions of PostgreSQL
//! rarely deadlock.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use sqlx::{AnyConnection, FromRow, Row as _, any::AnyRow};
use uuid::Uuid;

use super::{
    CatalogueError, FrameRows,
    dialect::Dialect,
    row::id,
    statement::sql,
    sums::{CAMERA_SUMS, camera_sums, saturate},
    traffic::{Bytes, add_traffic, frame_traffic},
};
use crate::{
    clock::DAY_MS,
    frame::{Frame, NewFrame},
};

/// Columns of a new frame, in the order in which [`insert_frames`] binds them, after the column that says when it is
/// due.
const COLUMNS: &str = "frame_id, node_id, camera_id, captured_ms, received_ms, width, height, source_format, state,
    latent_bits, latent_ones, program_id, label_program_id, label_scores, original_type, encode_ns, bytes, source_bytes,
    latent_shares, traceparent, scene_grid, wire_bytes, original_bytes, label_bytes, original_crc32c, digest,
    latents_travelled, latents_wire_bytes";

impl FrameRows {
    /// Stores frames in one durable transaction. Each answer is the new row, or `None` when the frame was there already
    /// and nothing changed.
    ///
    /// # Errors
    /// The database failed; nothing was stored.
    pub async fn insert(
        &self,
        frames: Vec<NewFrame>,
    ) -> Result<Vec<Option<Frame>>, CatalogueError> {
        let dialect = self.0.dialect;
        let frames: Arc<[NewFrame]> = frames.into();
        let insert = self.0.transaction(move |on| {
            let frames = frames.clone();
            Box::pin(async move { insert(on, dialect, &frames).await })
        });
        insert.await
    }
}

/// A camera's sums and last frame.
#[derive(Default)]
struct CameraChange<'a> {
    sums: [i64; CAMERA_SUMS.len()],
    node: &'a str,
    last_seq: i64,
    last_received_ms: i64,
}

async fn insert(
    on: &mut AnyConnection,
    dialect: &Dialect,
    frames: &[NewFrame],
) -> Result<Vec<Option<Frame>>, CatalogueError> {
    let mut numbers = insert_frames(on, dialect, frames).await?;
    let mut cameras: BTreeMap<&str, CameraChange<'_>> = BTreeMap::new();
    let mut sent: BTreeMap<(i64, &str, &str), Bytes> = BTreeMap::new();
    let mut rows = Vec::with_capacity(frames.len());
    for new in frames {
        // If a frame is there twice, the first one counts.
        let Some(seq) = numbers.remove(&new.id) else {
            rows.push(None);
            continue;
        };
        let camera = cameras.entry(&new.camera_id).or_default();
        for (sum, own) in camera.sums.iter_mut().zip(camera_sums(new)) {
            *sum += own;
        }
        camera.node = &new.node_id;
        camera.last_seq = seq;
        camera.last_received_ms = new.received_ms;
        let day = new.received_ms / DAY_MS;
        let bytes = sent.entry((day, &new.node_id, &new.camera_id)).or_default();
        *bytes = bytes.plus(frame_traffic(new));
        rows.push(Some(Frame::queued(new.clone())));
    }
    for (id, camera) in cameras {
        add_to_camera(on, id, camera).await?;
    }
    for ((day, node, camera), bytes) in sent {
        add_traffic(day, node, camera, bytes)
            .execute(&mut *on)
            .await?;
    }
    Ok(rows)
}

/// A new row's number in the order of arrival.
struct Number(Uuid, i64);

impl FromRow<'_, AnyRow> for Number {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self(id(row, "frame_id")?, row.try_get("seq")?))
    }
}

/// The numbers of the rows that are new.
async fn insert_frames(
    on: &mut AnyConnection,
    dialect: &Dialect,
    frames: &[NewFrame],
) -> Result<HashMap<Uuid, i64>, CatalogueError> {
    if frames.is_empty() {
        return Ok(HashMap::new());
    }
    let (due, now) = (dialect.due_column, dialect.due_now);
    let mut insert = sql(&format!("INSERT INTO frames ({due}, {COLUMNS}) VALUES "));
    for (at, new) in frames.iter().enumerate() {
        let scores = new
            .label
            .as_ref()
            .map(|label| serde_json::to_string(&label.scores).expect("strings and finite numbers"));
        let present = |bytes: &'_ [u8]| (!bytes.is_empty()).then(|| bytes.to_vec());
        let hash = |id: Option<&[u8; 32]>| id.map(|id| id.to_vec());
        let label_program = new.label.as_ref().map(|label| &label.program_id);
        insert = insert
            .push(if at > 0 { ", (" } else { "(" })
            .push(now)
            .next(&new.id.as_bytes()[..])
            .next(new.node_id.as_str())
            .next(new.camera_id.as_str())
            .next(new.captured_ms)
            .next(new.received_ms)
            .next(i64::from(new.width))
            .next(i64::from(new.height))
            .next(new.source_format.as_str())
            .next(new.state().name())
            .next(saturate(new.latent_bits))
            .next(new.latent_ones)
            .next(hash(new.program_id.as_ref()))
            .next(hash(label_program))
            .next(scores)
            .next(new.original_type.clone())
            .next(saturate(new.encode_ns))
            .next(saturate(new.bytes))
            .next(saturate(new.source_bytes))
            .next(present(&new.latent_shares))
            .next(new.traceparent.as_str())
            .next(present(&new.scene_grid))
            .next(saturate(new.arrival.wire_bytes))
            .next(saturate(new.original_bytes))
            .next(saturate(new.label_bytes))
            .next(new.original_crc32c.map(i64::from))
            .next(hash(new.digest.as_ref()))
            .next(new.arrival.latents.map(|latents| latents.how.name()))
            .next(new.arrival.latents.map(|latents| saturate(latents.bytes)))
            .push(")");
    }
    let insert = insert.push(" ON CONFLICT (frame_id) DO NOTHING RETURNING frame_id, seq");
    let rows: Vec<Number> = insert.prepared_once().rows(on).await?;
    Ok(rows.into_iter().map(|Number(id, seq)| (id, seq)).collect())
}

async fn add_to_camera(
    on: &mut AnyConnection,
    id: &str,
    camera: CameraChange<'_>,
) -> Result<(), CatalogueError> {
    let mut insert = sql("INSERT INTO cameras (camera_id, node_id, last_seq, last_received_ms")
        .push(&CAMERA_SUMS.map(|sum| format!(", {sum}")).concat())
        .push(") VALUES ($1, $2, $3, $4")
        .bind(id)
        .bind(camera.node)
        .bind(camera.last_seq)
        .bind(camera.last_received_ms);
    for sum in camera.sums {
        insert = insert.next(sum);
    }
    let sums = CAMERA_SUMS.map(|sum| format!("{sum} = cameras.{sum} + excluded.{sum}, "));
    let insert = insert
        .push(") ON CONFLICT (camera_id) DO UPDATE SET ")
        .push(&sums.concat())
        .push(
            "node_id = excluded.node_id,
             last_seq = CASE WHEN excluded.last_seq > cameras.last_seq
                 THEN excluded.last_seq ELSE cameras.last_seq END,
             last_received_ms = CASE WHEN excluded.last_received_ms > cameras.last_received_ms
                 THEN excluded.last_received_ms ELSE cameras.last_received_ms END",
        );
    insert.execute(on).await
}
