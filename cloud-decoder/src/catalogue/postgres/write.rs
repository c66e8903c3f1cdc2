//! What changes the catalogue, each a transaction. Frames come before cameras, and cameras in the order of their names,
//! so that few transactions wait for each other in a circle.

use std::collections::{BTreeMap, HashMap};

use sqlx::{PgPool, Postgres, QueryBuilder, Transaction};
use uuid::Uuid;

use super::super::{
    CatalogueError,
    row::{FrameRow, frame_id},
    sums::{Share, measured, saturate},
};
use crate::{
    clock::now_ms,
    frame::{Frame, FrameState, NewFrame, Quality, Work},
};

type Tx<'a> = Transaction<'a, Postgres>;

/// A camera's sums and last frame.
#[derive(Default)]
struct Camera<'a> {
    share: Share,
    node: &'a str,
    last_seq: i64,
    last_received_ms: i64,
}

pub(super) async fn insert_all(
    pool: &PgPool,
    frames: &[NewFrame],
) -> Result<Vec<Option<Frame>>, CatalogueError> {
    let mut tx = pool.begin().await?;
    let mut numbers = insert_frames(&mut tx, frames).await?;
    let mut cameras: BTreeMap<&str, Camera<'_>> = BTreeMap::new();
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
        rows.push(Some(Frame {
            new: new.clone(),
            state: new.state(),
            failure: String::new(),
            attempts: 0,
            quality: None,
            work: Work::default(),
        }));
    }
    if !cameras.is_empty() {
        add_to_cameras(&mut tx, cameras).await?;
    }
    tx.commit().await?;
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
    let now = now_ms();
    let mut query = QueryBuilder::<Postgres>::new(
        "INSERT INTO frames (frame_id, node_id, camera_id, captured_ms, received_ms, width, height,
             source_format, state, offered_ms, latent_bits, latent_ones, program_id,
             label_program_id, label_scores, original_type, encode_ns, bytes, source_bytes,
             latent_shares, traceparent) ",
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
            .push_bind(now)
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
            .push_bind(&new.traceparent);
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

pub(super) async fn set_decoded(
    pool: &PgPool,
    id: Uuid,
    quality: Quality,
    work: Work,
    bytes: u64,
) -> Result<Option<Frame>, CatalogueError> {
    let mut tx = pool.begin().await?;
    let row: Option<FrameRow> = sqlx::query_as(
        "UPDATE frames SET state = 'decoded', decode_ns = $1, measure_ns = $2, store_ns = $3,
             finished_ms = $4, psnr_db = $5, ssim = $6, ms_ssim = $7, seam_ratio = $8,
             original_seam_ratio = $9, bytes = bytes + $10
         WHERE frame_id = $11 AND state = 'queued' RETURNING *",
    )
    .bind(saturate(work.decode_ns))
    .bind(saturate(work.measure_ns))
    .bind(saturate(work.store_ns))
    .bind(work.finished_ms)
    .bind(quality.psnr_db)
    .bind(quality.ssim)
    .bind(quality.ms_ssim)
    .bind(quality.seam_ratio)
    .bind(quality.original_seam_ratio)
    .bind(saturate(bytes))
    .bind(id.as_bytes().as_slice())
    .fetch_optional(&mut *tx)
    .await?;
    let Some(frame) = row.map(Frame::try_from).transpose()? else {
        return Ok(None);
    };
    let psnr = measured(quality);
    sqlx::query(
        "UPDATE cameras SET decoded = decoded + 1, measured = measured + $1,
             psnr_sum = psnr_sum + $2, last_decoded = $3, bytes = bytes + $4 WHERE camera_id = $5",
    )
    .bind(i64::from(psnr.is_some()))
    .bind(psnr.unwrap_or(0.0))
    .bind(id.as_bytes().as_slice())
    .bind(saturate(bytes))
    .bind(&frame.new.camera_id)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(Some(frame))
}

pub(super) async fn set_failed(
    pool: &PgPool,
    id: Uuid,
    reason: &str,
) -> Result<Option<Frame>, CatalogueError> {
    let mut tx = pool.begin().await?;
    let row: Option<FrameRow> = sqlx::query_as(
        "UPDATE frames SET state = 'failed', failure = $1
         WHERE frame_id = $2 AND state = 'queued' RETURNING *",
    )
    .bind(reason)
    .bind(id.as_bytes().as_slice())
    .fetch_optional(&mut *tx)
    .await?;
    let Some(frame) = row.map(Frame::try_from).transpose()? else {
        return Ok(None);
    };
    sqlx::query("UPDATE cameras SET failed = failed + 1 WHERE camera_id = $1")
        .bind(&frame.new.camera_id)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(Some(frame))
}

pub(super) async fn requeue(
    pool: &PgPool,
    id: Uuid,
    bytes: u64,
) -> Result<Option<Frame>, CatalogueError> {
    let mut tx = pool.begin().await?;
    let before: Option<FrameRow> = sqlx::query_as(
        "SELECT * FROM frames WHERE frame_id = $1 AND state IN ('decoded', 'failed') FOR UPDATE",
    )
    .bind(id.as_bytes().as_slice())
    .fetch_optional(&mut *tx)
    .await?;
    let Some(before) = before.map(Frame::try_from).transpose()? else {
        return Ok(None);
    };
    let after: FrameRow = sqlx::query_as(
        "UPDATE frames SET state = 'queued', attempts = 0, offered_ms = $1, failure = '',
             decode_ns = 0, measure_ns = 0, store_ns = 0, finished_ms = 0, psnr_db = NULL,
             ssim = NULL, ms_ssim = NULL, seam_ratio = NULL, original_seam_ratio = NULL, bytes = $2
         WHERE frame_id = $3 RETURNING *",
    )
    .bind(now_ms())
    .bind(saturate(bytes))
    .bind(id.as_bytes().as_slice())
    .fetch_one(&mut *tx)
    .await?;
    let grown = saturate(bytes) - saturate(before.new.bytes);
    unsettle(&mut tx, &before, grown).await?;
    tx.commit().await?;
    Frame::try_from(after).map(Some)
}

pub(super) async fn remove_all(pool: &PgPool, ids: &[Uuid]) -> Result<(), CatalogueError> {
    let mut tx = pool.begin().await?;
    let ids: Vec<&[u8]> = ids.iter().map(|id| id.as_bytes().as_slice()).collect();
    let rows: Vec<FrameRow> = sqlx::query_as(
        "DELETE FROM frames WHERE frame_id = ANY($1) AND state <> 'queued' RETURNING *",
    )
    .bind(ids)
    .fetch_all(&mut *tx)
    .await?;
    let frames: Result<Vec<_>, _> = rows.into_iter().map(Frame::try_from).collect();
    let mut frames = frames?;
    frames.sort_by(|a, b| a.new.camera_id.cmp(&b.new.camera_id));
    for frame in &frames {
        let share = Share::of(&frame.new);
        unsettle(&mut tx, frame, -share.bytes).await?;
        sqlx::query(
            "UPDATE cameras SET frames = frames - 1, labelled = labelled - $2, pixels = pixels - $3,
                 latent_bits = latent_bits - $4, source_bytes = source_bytes - $5,
                 sourced_bits = sourced_bits - $6,
                 last_seq = coalesce((SELECT max(seq) FROM frames WHERE camera_id = $1), last_seq)
             WHERE camera_id = $1",
        )
        .bind(&frame.new.camera_id)
        .bind(share.labelled)
        .bind(share.pixels)
        .bind(share.latent_bits)
        .bind(share.source_bytes)
        .bind(share.sourced_bits)
        .execute(&mut *tx)
        .await?;
        // With its last frame, a camera goes too.
        sqlx::query("DELETE FROM cameras WHERE camera_id = $1 AND frames = 0")
            .bind(&frame.new.camera_id)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Takes what the decoder made of a frame out of its camera's sums, whose objects have so many bytes more.
async fn unsettle(tx: &mut Tx<'_>, frame: &Frame, bytes: i64) -> Result<(), CatalogueError> {
    let is = |state| i64::from(frame.state == state);
    let psnr = frame.quality.and_then(measured);
    sqlx::query(
        "UPDATE cameras SET decoded = decoded - $2, failed = failed - $3, measured = measured - $4,
             psnr_sum = CASE measured WHEN $4 THEN 0 ELSE psnr_sum - $5 END,
             last_decoded = nullif(last_decoded, $6), bytes = bytes + $7
         WHERE camera_id = $1",
    )
    .bind(&frame.new.camera_id)
    .bind(is(FrameState::Decoded))
    .bind(is(FrameState::Failed))
    .bind(i64::from(psnr.is_some()))
    .bind(psnr.unwrap_or(0.0))
    .bind(frame.new.id.as_bytes().as_slice())
    .bind(bytes)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
