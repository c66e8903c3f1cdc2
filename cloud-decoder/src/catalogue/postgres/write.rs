//! What changes the catalogue in PostgreSQL, within a transaction. Frames come before cameras, and cameras in the order of their names,
//! so that few transactions wait for each other in a circle.

use std::collections::{BTreeMap, HashMap};

use sqlx::{Postgres, QueryBuilder, Transaction};
use uuid::Uuid;

use super::super::{
    CatalogueError,
    row::{FrameRow, frame_id},
    settle,
    sums::{Sent, Share, measured, saturate},
    watchlist::ADD_TRAFFIC,
};
use crate::frame::{Frame, FrameState, NewFrame, Quality, Work};

type Tx<'a> = Transaction<'a, Postgres>;

settle::settle!(
    Postgres,
    lock: " FOR UPDATE",
    again: "offered_ms",
    when: "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"
);

/// A camera's sums and last frame.
#[derive(Default)]
struct Camera<'a> {
    share: Share,
    node: &'a str,
    last_seq: i64,
    last_received_ms: i64,
}

pub(super) async fn insert(
    tx: &mut Tx<'_>,
    frames: &[NewFrame],
) -> Result<Vec<Option<Frame>>, CatalogueError> {
    let mut numbers = insert_frames(tx, frames).await?;
    let mut cameras: BTreeMap<&str, Camera<'_>> = BTreeMap::new();
    let mut traffic: BTreeMap<(&str, &str), Sent> = BTreeMap::new();
    let mut rows = Vec::with_capacity(frames.len());
    for new in frames {
        // Of a frame that is there twice, the first one counts.
        let Some(seq) = numbers.remove(&new.id) else {
            rows.push(None);
            continue;
        };
        let camera = cameras.entry(&new.camera_id).or_default();
        camera.share.add(&Share::of(new));
        camera.node = &new.node_id;
        camera.last_seq = seq;
        camera.last_received_ms = new.received_ms;
        let sent = Sent::of(new);
        let sum = traffic.entry((&new.node_id, &new.camera_id)).or_default();
        sum.day = sent.day;
        sum.add(&sent);
        rows.push(Some(Frame {
            new: new.clone(),
            state: new.state(),
            failure: String::new(),
            attempts: 0,
            begun: 0,
            deaths: 0,
            quality: None,
            work: Work::default(),
        }));
    }
    if !cameras.is_empty() {
        add_to_cameras(tx, cameras).await?;
        add_to_traffic(tx, traffic).await?;
    }
    Ok(rows)
}

/// The numbers of the rows that are new.
async fn insert_frames(
    tx: &mut Tx<'_>,
    frames: &[NewFrame],
) -> Result<HashMap<Uuid, i64>, CatalogueError> {
    if frames.is_empty() {
        return Ok(HashMap::new());
    }
    let mut query = QueryBuilder::<Postgres>::new(
        "INSERT INTO frames (frame_id, node_id, camera_id, captured_ms, received_ms, width, height,
             source_format, state, offered_ms, latent_bits, latent_ones, program_id,
             label_program_id, label_scores, original_type, encode_ns, bytes, source_bytes,
             latent_shares, traceparent, scene_grid, wire_bytes, original_bytes, label_bytes,
             original_crc32c, digest) ",
    );
    query.push_values(frames, |mut row, new| {
        let scores = new
            .label
            .as_ref()
            .map(|label| serde_json::to_string(&label.scores).expect("strings and finite numbers"));
        row.push_bind(new.id.as_bytes().as_slice())
            .push_bind(&new.node_id)
            .push_bind(&new.camera_id)
            .push_bind(new.captured_ms)
            .push_bind(new.received_ms)
            .push_bind(i64::from(new.width))
            .push_bind(i64::from(new.height))
            .push_bind(&new.source_format)
            .push_bind(new.state().name())
            .push("CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)")
            .push_bind(saturate(new.latent_bits))
            .push_bind(new.latent_ones)
            .push_bind(new.program_id.as_ref().map(|id| id.as_slice()))
            .push_bind(new.label.as_ref().map(|label| label.program_id.as_slice()))
            .push_bind(scores)
            .push_bind(&new.original_type)
            .push_bind(saturate(new.encode_ns))
            .push_bind(saturate(new.bytes))
            .push_bind(saturate(new.source_bytes))
            .push_bind(Some(&new.latent_shares).filter(|shares| !shares.is_empty()))
            .push_bind(&new.traceparent)
            .push_bind(Some(&new.scene_grid).filter(|grid| !grid.is_empty()))
            .push_bind(saturate(new.wire_bytes))
            .push_bind(saturate(new.original_bytes))
            .push_bind(saturate(new.label_bytes))
            .push_bind(new.original_crc32c.map(i64::from))
            .push_bind(new.digest.as_ref().map(|digest| digest.as_slice()));
    });
    query.push(" ON CONFLICT (frame_id) DO NOTHING RETURNING frame_id, seq");
    let rows: Vec<(Vec<u8>, i64)> = query.build_query_as().fetch_all(&mut **tx).await?;
    rows.into_iter()
        .map(|(id, seq)| Ok((frame_id(&id)?, seq)))
        .collect()
}

async fn add_to_cameras(
    tx: &mut Tx<'_>,
    cameras: BTreeMap<&str, Camera<'_>>,
) -> Result<(), CatalogueError> {
    let mut query = QueryBuilder::<Postgres>::new(
        "INSERT INTO cameras (camera_id, node_id, frames, labelled, pixels, latent_bits, bytes,
             source_bytes, sourced_bits, last_seq, last_received_ms) ",
    );
    query.push_values(cameras, |mut row, (id, camera)| {
        let share = camera.share;
        row.push_bind(id)
            .push_bind(camera.node)
            .push_bind(share.frames)
            .push_bind(share.labelled)
            .push_bind(share.pixels)
            .push_bind(share.latent_bits)
            .push_bind(share.bytes)
            .push_bind(share.source_bytes)
            .push_bind(share.sourced_bits)
            .push_bind(camera.last_seq)
            .push_bind(camera.last_received_ms);
    });
    query.push(
        " ON CONFLICT (camera_id) DO UPDATE SET
             node_id = excluded.node_id, frames = cameras.frames + excluded.frames,
             labelled = cameras.labelled + excluded.labelled,
             pixels = cameras.pixels + excluded.pixels,
             latent_bits = cameras.latent_bits + excluded.latent_bits,
             bytes = cameras.bytes + excluded.bytes,
             source_bytes = cameras.source_bytes + excluded.source_bytes,
             sourced_bits = cameras.sourced_bits + excluded.sourced_bits,
             last_seq = greatest(cameras.last_seq, excluded.last_seq),
             last_received_ms = greatest(cameras.last_received_ms, excluded.last_received_ms)",
    );
    query.build().execute(&mut **tx).await?;
    Ok(())
}

async fn add_to_traffic(
    tx: &mut Tx<'_>,
    traffic: BTreeMap<(&str, &str), Sent>,
) -> Result<(), CatalogueError> {
    for ((node, camera), sent) in traffic {
        let mut add = sqlx::query(ADD_TRAFFIC)
            .bind(sent.day)
            .bind(node)
            .bind(camera);
        for sum in sent.columns() {
            add = add.bind(sum);
        }
        add.execute(&mut **tx).await?;
    }
    Ok(())
}

pub(super) async fn remove(tx: &mut Tx<'_>, ids: &[Uuid]) -> Result<(), CatalogueError> {
    let ids: Vec<&[u8]> = ids.iter().map(|id| id.as_bytes().as_slice()).collect();
    let rows: Vec<FrameRow> = sqlx::query_as(
        "DELETE FROM frames WHERE frame_id = ANY($1) AND state <> 'queued' RETURNING *",
    )
    .bind(ids)
    .fetch_all(&mut **tx)
    .await?;
    let frames: Result<Vec<_>, _> = rows.into_iter().map(Frame::try_from).collect();
    let mut frames = frames?;
    frames.sort_by(|a, b| a.new.camera_id.cmp(&b.new.camera_id));
    for frame in &frames {
        forget(tx, frame).await?;
    }
    Ok(())
}
