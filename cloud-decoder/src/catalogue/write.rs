//! What changes the catalogue: transactions on its one writing connection.

use sqlx::{Connection, Sqlite, SqliteConnection, Transaction, pool::PoolConnection};
use uuid::Uuid;

use super::{
    CatalogueError,
    row::FrameRow,
    sums::{Share, measured, saturate},
};
use crate::frame::{Frame, NewFrame, Quality, Work};

/// Closes a connection whose transaction failed: SQLite rolls back by itself when the disk is full, which the
/// pool would not notice, and no later transaction could begin on it.
pub(super) async fn settled<T>(
    connection: PoolConnection<Sqlite>,
    result: Result<T, CatalogueError>,
) -> Result<T, CatalogueError> {
    if result.is_err()
        && let Err(error) = connection.close().await
    {
        tracing::debug!(%error, "closing the catalogue's connection failed");
    }
    result
}

pub(super) async fn insert_all(
    connection: &mut SqliteConnection,
    frames: Vec<NewFrame>,
) -> Result<Vec<Option<Frame>>, CatalogueError> {
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    let mut rows = Vec::with_capacity(frames.len());
    for frame in frames {
        rows.push(insert_one(&mut tx, frame).await?);
    }
    tx.commit().await?;
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
             label_scores, original_type, encode_ns, bytes, source_bytes, latent_shares, traceparent)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
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
    .fetch_optional(&mut **tx)
    .await?;
    let Some((seq,)) = row else { return Ok(None) };

    let share = Share::of(&new);
    sqlx::query(
        "INSERT INTO cameras (camera_id, node_id, frames, labelled, pixels, latent_bits, last_seq,
             last_received_ms, bytes, source_bytes, sourced_bits)
         VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?)
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
    Ok(Some(Frame {
        new,
        state,
        failure: String::new(),
        attempts: 0,
        quality: None,
        work: Work::default(),
    }))
}

pub(super) async fn set_decoded(
    connection: &mut SqliteConnection,
    id: Uuid,
    quality: Quality,
    work: Work,
    bytes: u64,
) -> Result<Option<Frame>, CatalogueError> {
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    let row: Option<FrameRow> = sqlx::query_as(
        "UPDATE frames SET state = 'decoded', decode_ns = ?, measure_ns = ?, store_ns = ?,
             finished_ms = ?, psnr_db = ?, ssim = ?,
             ms_ssim = ?, seam_ratio = ?, original_seam_ratio = ?, bytes = bytes + ?
         WHERE frame_id = ? AND state = 'queued' RETURNING *",
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
        "UPDATE cameras SET decoded = decoded + 1, measured = measured + ?,
             psnr_sum = psnr_sum + ?, last_decoded = ?, bytes = bytes + ? WHERE camera_id = ?",
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
    connection: &mut SqliteConnection,
    id: Uuid,
    reason: &str,
) -> Result<Option<Frame>, CatalogueError> {
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    let row: Option<FrameRow> = sqlx::query_as(
        "UPDATE frames SET state = 'failed', failure = ?
         WHERE frame_id = ? AND state = 'queued' RETURNING *",
    )
    .bind(reason)
    .bind(id.as_bytes().as_slice())
    .fetch_optional(&mut *tx)
    .await?;
    let Some(frame) = row.map(Frame::try_from).transpose()? else {
        return Ok(None);
    };
    sqlx::query("UPDATE cameras SET failed = failed + 1 WHERE camera_id = ?")
        .bind(&frame.new.camera_id)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(Some(frame))
}

#[cfg(test)]
mod tests {
    use crate::catalogue::{Catalogue, SqliteCatalogue};

    use super::*;

    fn frame() -> NewFrame {
        NewFrame {
            id: Uuid::now_v7(),
            node_id: "node".to_owned(),
            camera_id: "gate".to_owned(),
            captured_ms: 1,
            received_ms: 1,
            width: 64,
            height: 64,
            source_format: "x".repeat(1000),
            latent_bits: 1024,
            latent_ones: Some(0.5),
            bytes: 100,
            program_id: Some([7; 32]),
            label: None,
            original_type: None,
            encode_ns: 1,
            source_bytes: 1000,
            latent_shares: vec![128; 256],
            traceparent: String::new(),
        }
    }

    #[tokio::test]
    async fn a_frame_that_waits_for_the_decoder_is_not_removed() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("catalogue.sqlite");
        let catalogue = SqliteCatalogue::open(&path).await.expect("catalogue");
        let (waiting, done) = (frame(), frame());
        let (waits, is_done) = (waiting.id, done.id);
        let stored = catalogue.insert(vec![waiting, done]).await;
        stored.expect("a transaction");
        let failed = catalogue.failed(is_done, "test").await;
        failed.expect("a transaction");
        let oldest = catalogue.oldest(10).await.expect("frames");
        let ids: Vec<_> = oldest.iter().map(|frame| frame.new.id).collect();
        assert_eq!(ids, [is_done]);
        let due = catalogue.due(i64::MAX, 0).await.expect("sums");
        assert_eq!((due.frames, due.bytes), (1, 100));
        let removed = catalogue.remove(&[waits, is_done]).await;
        removed.expect("a transaction");
        assert_eq!(catalogue.queued().await.expect("count"), 1);
        let kept = catalogue.kept().await.expect("sums");
        assert_eq!((kept.frames, kept.bytes), (1, 100));
        let camera = catalogue.cameras().await.expect("cameras").remove(0);
        assert_eq!((camera.frames, camera.failed), (1, 0));
        assert_eq!((camera.last_frame, camera.pixels), (waits, 64 * 64));
    }

    #[tokio::test]
    async fn a_catalogue_on_a_full_disk_works_again_when_there_is_room() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("catalogue.sqlite");
        let catalogue = SqliteCatalogue::open(&path).await.expect("catalogue");
        let first = frame();
        let id = first.id;
        catalogue.insert(vec![first]).await.expect("an empty disk");

        // A full disk and a full file end a transaction alike, by SQLite's own rollback.
        sqlx::query("PRAGMA max_page_count = 1")
            .execute(&catalogue.writer)
            .await
            .expect("the limit can be set");
        let many = || (0..200).map(|_| frame()).collect::<Vec<_>>();
        let refused = catalogue.insert(many()).await.expect_err("a full file");
        assert!(refused.to_string().contains("full"), "{refused}");

        // The failed connection is gone, and its limit with it.
        let stored = catalogue.insert(many()).await.expect("there is room again");
        assert_eq!(stored.iter().flatten().count(), 200);
        let failed = catalogue.failed(id, "test").await.expect("a transaction");
        assert!(failed.is_some());
        assert_eq!(catalogue.queued().await.expect("count"), 200);
    }
}
