//! What takes frames back out of their cameras' sums: removal, and decoding once more.

use sqlx::{Connection, Sqlite, SqliteConnection, Transaction};
use uuid::Uuid;

use super::{
    CatalogueError,
    row::FrameRow,
    sums::{Share, measured, saturate},
};
use crate::frame::{Frame, FrameState};

pub(super) async fn remove_all(
    connection: &mut SqliteConnection,
    ids: &[Uuid],
) -> Result<(), CatalogueError> {
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    for id in ids {
        remove_one(&mut tx, id).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// With its last frame, a camera goes too.
async fn remove_one(tx: &mut Transaction<'_, Sqlite>, id: &Uuid) -> Result<(), CatalogueError> {
    let row: Option<FrameRow> =
        sqlx::query_as("DELETE FROM frames WHERE frame_id = ? AND state <> 'queued' RETURNING *")
            .bind(id.as_bytes().as_slice())
            .fetch_optional(&mut **tx)
            .await?;
    let Some(frame) = row.map(Frame::try_from).transpose()? else {
        return Ok(());
    };
    unsettle(tx, &frame).await?;
    let new = &frame.new;
    let share = Share::of(new);
    sqlx::query(
        "UPDATE cameras SET frames = frames - 1, labelled = labelled - ?2, pixels = pixels - ?3,
             latent_bits = latent_bits - ?4, bytes = bytes - ?5,
             source_bytes = source_bytes - ?6, sourced_bits = sourced_bits - ?7,
             last_seq = coalesce((SELECT max(seq) FROM frames WHERE camera_id = ?1), last_seq)
         WHERE camera_id = ?1",
    )
    .bind(&new.camera_id)
    .bind(share.labelled)
    .bind(share.pixels)
    .bind(share.latent_bits)
    .bind(share.bytes)
    .bind(share.source_bytes)
    .bind(share.sourced_bits)
    .execute(&mut **tx)
    .await?;
    sqlx::query("DELETE FROM cameras WHERE camera_id = ? AND frames = 0")
        .bind(&new.camera_id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub(super) async fn requeue(
    connection: &mut SqliteConnection,
    id: Uuid,
    bytes: u64,
) -> Result<Option<Frame>, CatalogueError> {
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    let before: Option<FrameRow> = sqlx::query_as(
        "SELECT * FROM frames WHERE frame_id = ? AND state IN ('decoded', 'failed')",
    )
    .bind(id.as_bytes().as_slice())
    .fetch_optional(&mut *tx)
    .await?;
    let Some(before) = before.map(Frame::try_from).transpose()? else {
        return Ok(None);
    };
    unsettle(&mut tx, &before).await?;
    sqlx::query("UPDATE cameras SET bytes = bytes - ? + ? WHERE camera_id = ?")
        .bind(saturate(before.new.bytes))
        .bind(saturate(bytes))
        .bind(&before.new.camera_id)
        .execute(&mut *tx)
        .await?;
    let after: FrameRow = sqlx::query_as(
        "UPDATE frames SET state = 'queued', attempts = 0, not_before_ms = 0, failure = '',
             decode_ns = 0, measure_ns = 0, store_ns = 0, finished_ms = 0, psnr_db = NULL, ssim = NULL, ms_ssim = NULL, seam_ratio = NULL,
             original_seam_ratio = NULL, bytes = ?
         WHERE frame_id = ? RETURNING *",
    )
    .bind(saturate(bytes))
    .bind(id.as_bytes().as_slice())
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Frame::try_from(after).map(Some)
}

/// Takes what the decoder made of a frame out of its camera's sums.
async fn unsettle(tx: &mut Transaction<'_, Sqlite>, frame: &Frame) -> Result<(), CatalogueError> {
    let is = |state| i64::from(frame.state == state);
    let psnr = frame.quality.and_then(measured);
    sqlx::query(
        "UPDATE cameras SET decoded = decoded - ?2, failed = failed - ?3, measured = measured - ?4,
             psnr_sum = CASE measured WHEN ?4 THEN 0 ELSE psnr_sum - ?5 END,
             last_decoded = nullif(last_decoded, ?6)
         WHERE camera_id = ?1",
    )
    .bind(&frame.new.camera_id)
    .bind(is(FrameState::Decoded))
    .bind(is(FrameState::Failed))
    .bind(i64::from(psnr.is_some()))
    .bind(psnr.unwrap_or(0.0))
    .bind(frame.new.id.as_bytes().as_slice())
    .execute(&mut **tx)
    .await?;
    Ok(())
}
