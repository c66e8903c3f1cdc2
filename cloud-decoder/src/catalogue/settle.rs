//! What becomes of frames, within a transaction of either database, and with it the sums of their cameras.

/// The functions for one database: `$lock` keeps a selected row for the transaction, `$again` is the column that says when a
/// queued frame is taken, and `$when` is what it is, in SQL, for one that is queued once more.
macro_rules! settle {
    ($database:ty, lock: $lock:literal, again: $again:literal, when: $when:literal) => {
        /// Records a reconstruction, whose objects have so many bytes.
        pub(super) async fn decoded(
            tx: &mut Transaction<'_, $database>,
            id: Uuid,
            quality: Quality,
            work: Work,
            bytes: u64,
        ) -> Result<Option<Frame>, CatalogueError> {
            let row: Option<FrameRow> = sqlx::query_as(
                "UPDATE frames SET state = 'decoded', decode_ns = $1, measure_ns = $2, store_ns = $3,
                     finished_ms = $4, psnr_db = $5, ssim = $6, ms_ssim = $7, seam_ratio = $8,
                     original_seam_ratio = $9, bytes = bytes + $10, attempts = attempts + 1, begun = 0,
                     deaths = 0
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
            .fetch_optional(&mut **tx)
            .await?;
            let Some(frame) = row.map(Frame::try_from).transpose()? else {
                return Ok(None);
            };
            let psnr = measured(quality);
            sqlx::query(
                "UPDATE cameras SET decoded = decoded + 1, measured = measured + $1,
                     psnr_sum = psnr_sum + $2, last_decoded = $3, bytes = bytes + $4
                 WHERE camera_id = $5",
            )
            .bind(i64::from(psnr.is_some()))
            .bind(psnr.unwrap_or(0.0))
            .bind(id.as_bytes().as_slice())
            .bind(saturate(bytes))
            .bind(&frame.new.camera_id)
            .execute(&mut **tx)
            .await?;
            Ok(Some(frame))
        }

        /// Gives a frame up.
        pub(super) async fn failed(
            tx: &mut Transaction<'_, $database>,
            id: Uuid,
            reason: &str,
        ) -> Result<Option<Frame>, CatalogueError> {
            let row: Option<FrameRow> = sqlx::query_as(
                "UPDATE frames SET state = 'failed', failure = $1, attempts = attempts + 1, begun = 0,
                     deaths = 0
                 WHERE frame_id = $2 AND state = 'queued' RETURNING *",
            )
            .bind(reason)
            .bind(id.as_bytes().as_slice())
            .fetch_optional(&mut **tx)
            .await?;
            let Some(frame) = row.map(Frame::try_from).transpose()? else {
                return Ok(None);
            };
            sqlx::query("UPDATE cameras SET failed = failed + 1 WHERE camera_id = $1")
                .bind(&frame.new.camera_id)
                .execute(&mut **tx)
                .await?;
            Ok(Some(frame))
        }

        /// Queues a frame once more.
        pub(super) async fn requeue(
            tx: &mut Transaction<'_, $database>,
            id: Uuid,
            bytes: u64,
        ) -> Result<Option<Frame>, CatalogueError> {
            let before: Option<FrameRow> = sqlx::query_as(concat!(
                "SELECT * FROM frames WHERE frame_id = $1 AND state IN ('decoded', 'failed')",
                $lock
            ))
            .bind(id.as_bytes().as_slice())
            .fetch_optional(&mut **tx)
            .await?;
            let Some(before) = before.map(Frame::try_from).transpose()? else {
                return Ok(None);
            };
            let after: FrameRow = sqlx::query_as(concat!(
                "UPDATE frames SET state = 'queued', attempts = 0, begun = 0, deaths = 0, failure = '', decode_ns = 0,
                     measure_ns = 0, store_ns = 0, finished_ms = 0, psnr_db = NULL, ssim = NULL,
                     ms_ssim = NULL, seam_ratio = NULL, original_seam_ratio = NULL, bytes = $1, ",
                $again,
                " = ",
                $when,
                " WHERE frame_id = $2 RETURNING *"
            ))
            .bind(saturate(bytes))
            .bind(id.as_bytes().as_slice())
            .fetch_one(&mut **tx)
            .await?;
            let grown = saturate(bytes) - saturate(before.new.bytes);
            unsettle(tx, &before, grown).await?;
            Frame::try_from(after).map(Some)
        }

        /// Takes a frame whose row is gone out of its camera's sums. With its last frame, a camera goes too.
        async fn forget(
            tx: &mut Transaction<'_, $database>,
            frame: &Frame,
        ) -> Result<(), CatalogueError> {
            let share = Share::of(&frame.new);
            unsettle(tx, frame, -share.bytes).await?;
            sqlx::query(
                "UPDATE cameras SET frames = frames - 1, labelled = labelled - $2,
                     pixels = pixels - $3, latent_bits = latent_bits - $4,
                     source_bytes = source_bytes - $5, sourced_bits = sourced_bits - $6,
                     last_seq = coalesce(
                         (SELECT max(seq) FROM frames WHERE camera_id = $1), last_seq)
                 WHERE camera_id = $1",
            )
            .bind(&frame.new.camera_id)
            .bind(share.labelled)
            .bind(share.pixels)
            .bind(share.latent_bits)
            .bind(share.source_bytes)
            .bind(share.sourced_bits)
            .execute(&mut **tx)
            .await?;
            sqlx::query("DELETE FROM cameras WHERE camera_id = $1 AND frames = 0")
                .bind(&frame.new.camera_id)
                .execute(&mut **tx)
                .await?;
            Ok(())
        }

        /// Takes what the decoder made of a frame out of its camera's sums, whose objects have so many bytes more.
        async fn unsettle(
            tx: &mut Transaction<'_, $database>,
            frame: &Frame,
            bytes: i64,
        ) -> Result<(), CatalogueError> {
            let is = |state| i64::from(frame.state == state);
            let psnr = frame.quality.and_then(measured);
            sqlx::query(
                "UPDATE cameras SET decoded = decoded - $2, failed = failed - $3,
                     measured = measured - $4,
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
    };
}

pub(super) use settle;
