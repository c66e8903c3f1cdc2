//! What changes the catalogue in SQLite, within a transaction on its one writing connection.

use sqlx::{Sqlite, Transaction};
use uuid::Uuid;

use super::super::{
    CatalogueError,
    row::FrameRow,
    settle,
    sums::{Sent, Share, measured, saturate},
    watchlist::ADD_TRAFFIC,
};
use crate::frame::{Frame, FrameState, NewFrame, Quality, Work};

settle::settle!(Sqlite, lock: "", again: "not_before_ms", when: "0");

pub(super) async fn insert(
    tx: &mut Transaction<'_, Sqlite>,
    frames: Vec<NewFrame>,
) -> Result<Vec<Option<Frame>>, CatalogueError> {
    let mut rows = Vec::with_capacity(frames.len());
    for frame in frames {
        rows.push(insert_one(tx, frame).await?);
    }
    Ok(rows)
}

async fn insert_one(
    tx: &mut Transaction<'_, Sqlite>,
    new: NewFrame,
) -> Result<Option<Frame>, CatalogueError> {
    let state = new.state();
    let scores = new
        .label
        .as_ref()
        .map(|label| serde_json::to_string(&label.scores).expect("strings and finite numbers"));
    let row: Option<(i64,)> = sqlx::query_as(
        "INSERT INTO frames (frame_id, node_id, camera_id, captured_ms, received_ms, width, height,
             source_format, state, latent_bits, latent_ones, program_id, label_program_id,
             label_scores, original_type, encode_ns, bytes, source_bytes, latent_shares, traceparent,
             scene_grid, wire_bytes, original_bytes, label_bytes, original_crc32c, digest)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
             $21, $22, $23, $24, $25, $26)
         ON CONFLICT (frame_id) DO NOTHING RETURNING seq",
    )
    .bind(new.id.as_bytes().as_slice())
    .bind(&new.node_id)
    .bind(&new.camera_id)
    .bind(new.captured_ms)
    .bind(new.received_ms)
    .bind(new.width)
    .bind(new.height)
    .bind(&new.source_format)
    .bind(state.name())
    .bind(new.latent_bits as i64)
    .bind(new.latent_ones)
    .bind(new.program_id.as_ref().map(|id| id.as_slice()))
    .bind(new.label.as_ref().map(|label| label.program_id.as_slice()))
    .bind(scores)
    .bind(&new.original_type)
    .bind(saturate(new.encode_ns))
    .bind(saturate(new.bytes))
    .bind(saturate(new.source_bytes))
    .bind(Some(&new.latent_shares).filter(|shares| !shares.is_empty()))
    .bind(&new.traceparent)
    .bind(Some(&new.scene_grid).filter(|grid| !grid.is_empty()))
    .bind(saturate(new.wire_bytes))
    .bind(saturate(new.original_bytes))
    .bind(saturate(new.label_bytes))
    .bind(new.original_crc32c.map(i64::from))
    .bind(new.digest.as_ref().map(|digest| digest.as_slice()))
    .fetch_optional(&mut **tx)
    .await?;
    let Some((seq,)) = row else { return Ok(None) };

    let share = Share::of(&new);
    sqlx::query(
        "INSERT INTO cameras (camera_id, node_id, frames, labelled, pixels, latent_bits, last_seq,
             last_received_ms, bytes, source_bytes, sourced_bits)
         VALUES ($1, $2, 1, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (camera_id) DO UPDATE SET
             node_id = excluded.node_id, frames = frames + 1,
             labelled = labelled + excluded.labelled, pixels = pixels + excluded.pixels,
             latent_bits = latent_bits + excluded.latent_bits, last_seq = excluded.last_seq,
             last_received_ms = excluded.last_received_ms, bytes = bytes + excluded.bytes,
             source_bytes = source_bytes + excluded.source_bytes,
             sourced_bits = sourced_bits + excluded.sourced_bits",
    )
    .bind(&new.camera_id)
    .bind(&new.node_id)
    .bind(share.labelled)
    .bind(share.pixels)
    .bind(share.latent_bits)
    .bind(seq)
    .bind(new.received_ms)
    .bind(share.bytes)
    .bind(share.source_bytes)
    .bind(share.sourced_bits)
    .execute(&mut **tx)
    .await?;
    let sent = Sent::of(&new);
    let mut add = sqlx::query(ADD_TRAFFIC)
        .bind(sent.day)
        .bind(&new.node_id)
        .bind(&new.camera_id);
    for sum in sent.columns() {
        add = add.bind(sum);
    }
    add.execute(&mut **tx).await?;
    Ok(Some(Frame {
        new,
        state,
        failure: String::new(),
        attempts: 0,
        begun: 0,
        deaths: 0,
        quality: None,
        work: Work::default(),
    }))
}

pub(super) async fn remove(
    tx: &mut Transaction<'_, Sqlite>,
    ids: &[Uuid],
) -> Result<(), CatalogueError> {
    for id in ids {
        let row: Option<FrameRow> = sqlx::query_as(
            "DELETE FROM frames WHERE frame_id = $1 AND state <> 'queued' RETURNING *",
        )
        .bind(id.as_bytes().as_slice())
        .fetch_optional(&mut **tx)
        .await?;
        if let Some(frame) = row.map(Frame::try_from).transpose()? {
            forget(tx, &frame).await?;
        }
    }
    Ok(())
}
