//! The outcomes of frames, each in one transaction with the sums of their cameras.

use std::sync::Arc;

use sqlx::AnyConnection;
use uuid::Uuid;

use super::{
    CatalogueError, FrameRows,
    dialect::Dialect,
    statement::sql,
    sums::{camera_sums, measured, saturate},
};
use crate::frame::{Frame, FrameState, Quality, Work};

impl FrameRows {
    /// Records the reconstruction by a decoder, whose objects have so many bytes. `None` when the frame was no longer queued.
    ///
    /// # Errors
    /// The database failed; nothing changed.
    pub async fn decoded(
        &self,
        id: Uuid,
        decoder: [u8; 32],
        quality: Quality,
        work: Work,
        bytes: u64,
    ) -> Result<Option<Frame>, CatalogueError> {
        let record = self
            .0
            .transaction(move |on| Box::pin(record_decoded(on, id, decoder, quality, work, bytes)));
        record.await
    }

    /// Marks a frame as failed. `None` when it was no longer queued.
    ///
    /// # Errors
    /// The database failed; nothing changed.
    pub async fn failed(&self, id: Uuid, reason: &str) -> Result<Option<Frame>, CatalogueError> {
        let reason: Arc<str> = reason.into();
        let record = self.0.transaction(move |on| {
            let reason = reason.clone();
            Box::pin(async move { record_failed(on, id, &reason).await })
        });
        record.await
    }

    /// Queues a decoded or failed frame once more, as if it had just arrived; its objects have so many bytes without
    /// those that the decoder makes. `None` when it was neither.
    ///
    /// # Errors
    /// The database failed; nothing changed.
    pub async fn requeue(&self, id: Uuid, bytes: u64) -> Result<Option<Frame>, CatalogueError> {
        let dialect = self.0.dialect;
        let requeue = self
            .0
            .transaction(move |on| Box::pin(requeue(on, dialect, id, bytes)));
        requeue.await
    }

    /// Removes frames, except those that wait for the decoder, and subtracts them from their cameras' sums.
    ///
    /// # Errors
    /// The database failed; nothing changed.
    pub async fn remove(&self, frames: &[Uuid]) -> Result<(), CatalogueError> {
        let frames: Arc<[Uuid]> = frames.into();
        let remove = self.0.transaction(move |on| {
            let frames = frames.clone();
            Box::pin(async move { remove(on, &frames).await })
        });
        remove.await
    }
}

async fn record_decoded(
    on: &mut AnyConnection,
    id: Uuid,
    decoder: [u8; 32],
    quality: Quality,
    work: Work,
    bytes: u64,
) -> Result<Option<Frame>, CatalogueError> {
    let update = sql(
        "UPDATE frames SET state = 'decoded', decode_ns = $1, measure_ns = $2, store_ns = $3,
             finished_ms = $4, bytes = bytes + $5, attempts = attempts + 1, begun = 0, deaths = 0,
             psnr_db = $6, ssim = $7, ms_ssim = $8, seam_ratio = $9, original_seam_ratio = $10,
             decoder_id = $11
         WHERE frame_id = $12 AND state = 'queued' RETURNING *",
    )
    .bind(saturate(work.decode_ns))
    .bind(saturate(work.measure_ns))
    .bind(saturate(work.store_ns))
    .bind(work.finished_ms)
    .bind(saturate(bytes))
    .bind(quality.psnr_db)
    .bind(quality.ssim)
    .bind(quality.ms_ssim)
    .bind(quality.seam_ratio)
    .bind(quality.original_seam_ratio)
    .bind(&decoder[..])
    .bind(&id.as_bytes()[..]);
    let row: Option<Frame> = update.prepared_once().row(&mut *on).await?;
    if let Some(frame) = &row {
        let psnr = measured(quality);
        let add = sql(
            "UPDATE cameras SET decoded = decoded + 1, measured = measured + $1,
                 psnr_sum = psnr_sum + $2, last_decoded = $3, bytes = bytes + $4
             WHERE camera_id = $5",
        );
        add.bind(i64::from(psnr.is_some()))
            .bind(psnr.unwrap_or(0.0))
            .bind(&id.as_bytes()[..])
            .bind(saturate(bytes))
            .bind(frame.new.camera_id.as_str())
            .execute(on)
            .await?;
    }
    Ok(row)
}

async fn record_failed(
    on: &mut AnyConnection,
    id: Uuid,
    reason: &str,
) -> Result<Option<Frame>, CatalogueError> {
    let update = sql(
        "UPDATE frames SET state = 'failed', failure = $1, attempts = attempts + 1, begun = 0,
             deaths = 0
         WHERE frame_id = $2 AND state = 'queued' RETURNING *",
    );
    let update = update.bind(reason).bind(&id.as_bytes()[..]);
    let row: Option<Frame> = update.row(&mut *on).await?;
    if let Some(frame) = &row {
        let add = sql("UPDATE cameras SET failed = failed + 1 WHERE camera_id = $1");
        add.bind(frame.new.camera_id.as_str()).execute(on).await?;
    }
    Ok(row)
}

async fn requeue(
    on: &mut AnyConnection,
    dialect: &Dialect,
    id: Uuid,
    bytes: u64,
) -> Result<Option<Frame>, CatalogueError> {
    let select = sql("SELECT * FROM frames WHERE frame_id = $1 AND state IN ('decoded', 'failed')");
    let select = select.push(dialect.row_lock).bind(&id.as_bytes()[..]);
    let before: Option<Frame> = select.row(&mut *on).await?;
    let Some(before) = before else {
        return Ok(None);
    };
    let (due, now) = (dialect.due_column, dialect.due_now);
    let update = format!(
        "UPDATE frames SET state = 'queued', attempts = 0, begun = 0, deaths = 0, failure = '', decode_ns = 0,
             measure_ns = 0, store_ns = 0, finished_ms = 0, psnr_db = NULL, ssim = NULL, ms_ssim = NULL,
             seam_ratio = NULL, original_seam_ratio = NULL, decoder_id = NULL, bytes = $1, {due} = {now}
         WHERE frame_id = $2 RETURNING *"
    );
    let update = sql(&update).bind(saturate(bytes)).bind(&id.as_bytes()[..]);
    let after = update.row(&mut *on).await?;
    let grown = saturate(bytes) - saturate(before.new.bytes);
    subtract_outcome(on, &before, grown).await?;
    Ok(after)
}

async fn remove(on: &mut AnyConnection, frames: &[Uuid]) -> Result<(), CatalogueError> {
    let mut removed: Vec<Frame> = Vec::with_capacity(frames.len());
    for id in frames {
        let delete =
            sql("DELETE FROM frames WHERE frame_id = $1 AND state <> 'queued' RETURNING *");
        removed.extend(delete.bind(&id.as_bytes()[..]).row(&mut *on).await?);
    }
    removed.sort_by(|a, b| a.new.camera_id.cmp(&b.new.camera_id));
    for frame in &removed {
        subtract_frame(on, frame).await?;
    }
    Ok(())
}

/// Subtracts a frame whose row is gone from its camera's sums. A camera without frames is removed too.
async fn subtract_frame(on: &mut AnyConnection, frame: &Frame) -> Result<(), CatalogueError> {
    let [
        frames,
        labelled,
        pixels,
        latent_bits,
        bytes,
        source_bytes,
        sourced_bits,
    ] = camera_sums(&frame.new);
    subtract_outcome(on, frame, -bytes).await?;
    let camera = frame.new.camera_id.as_str();
    let update = sql("UPDATE cameras SET frames = frames - $2, labelled = labelled - $3, pixels = pixels - $4,
             latent_bits = latent_bits - $5, source_bytes = source_bytes - $6, sourced_bits = sourced_bits - $7,
             last_seq = coalesce((SELECT max(seq) FROM frames WHERE camera_id = $1), last_seq)
         WHERE camera_id = $1");
    let mut update = update.bind(camera);
    for sum in [
        frames,
        labelled,
        pixels,
        latent_bits,
        source_bytes,
        sourced_bits,
    ] {
        update = update.bind(sum);
    }
    update.execute(&mut *on).await?;
    let delete = sql("DELETE FROM cameras WHERE camera_id = $1 AND frames = 0");
    delete.bind(camera).execute(on).await
}

/// Takes what the decoder made of a frame out of its camera's sums, whose objects have so many bytes more.
async fn subtract_outcome(
    on: &mut AnyConnection,
    frame: &Frame,
    bytes: i64,
) -> Result<(), CatalogueError> {
    let is = |state| i64::from(frame.state == state);
    let psnr = frame.quality.and_then(measured);
    let update = sql(
        "UPDATE cameras SET decoded = decoded - $2, failed = failed - $3, measured = measured - $4,
             psnr_sum = CASE measured WHEN $4 THEN 0 ELSE psnr_sum - $5 END,
             last_decoded = nullif(last_decoded, $6), bytes = bytes + $7
         WHERE camera_id = $1",
    );
    update
        .bind(frame.new.camera_id.as_str())
        .bind(is(FrameState::Decoded))
        .bind(is(FrameState::Failed))
        .bind(i64::from(psnr.is_some()))
        .bind(psnr.unwrap_or(0.0))
        .bind(&frame.new.id.as_bytes()[..])
        .bind(bytes)
        .execute(on)
        .await
}
