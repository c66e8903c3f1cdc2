//! The catalogue in SQLite: WAL, `synchronous = FULL`, one writing connection and a few readers.

use std::path::Path;

use sqlx::{
    Sqlite, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tonic::async_trait;
use uuid::Uuid;

use super::{
    CLAIM_MS, Camera, Catalogue, CatalogueError, MAX_CAMERAS, Metric, Page, Series,
    row::{CameraRow, FrameRow},
};
use crate::{
    clock::now_ms,
    frame::{Frame, FrameState, NewFrame, Quality},
};

/// Frames whose PSNR makes a camera's recent mean.
const RECENT_FRAMES: u32 = 50;
const READERS: u32 = 4;

/// [`Catalogue`] in one SQLite file, owned by one process.
pub struct SqliteCatalogue {
    // SQLite takes one writer at a time; queueing for it here never meets SQLITE_BUSY.
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteCatalogue {
    /// Opens or creates the database, brings its schema up to date, and frees the claims of the
    /// process that had it before.
    ///
    /// # Errors
    /// The file cannot be opened or is not ours.
    pub async fn open(path: &Path) -> Result<Self, CatalogueError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options.clone())
            .await?;
        sqlx::migrate!().run(&writer).await?;
        sqlx::query("UPDATE frames SET not_before_ms = 0 WHERE state = 'queued'")
            .execute(&writer)
            .await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.read_only(true))
            .await?;
        Ok(Self { writer, readers })
    }

    /// Closes the file; calls under way end with an error.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, CatalogueError> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }
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
             label_scores, original_type, encode_ns)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
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
    .bind(state)
    .bind(new.latent_bits as i64)
    .bind(new.latent_ones)
    .bind(new.program_id.as_ref().map(|id| id.as_slice()))
    .bind(new.label.as_ref().map(|label| label.program_id.as_slice()))
    .bind(scores)
    .bind(&new.original_type)
    .bind(saturate(new.encode_ns))
    .fetch_optional(&mut **tx)
    .await?;
    let Some((seq,)) = row else { return Ok(None) };

    let pixels = match state {
        FrameState::Queued => i64::from(new.width) * i64::from(new.height),
        _ => 0,
    };
    sqlx::query(
        "INSERT INTO cameras (camera_id, node_id, frames, labelled, pixels, latent_bits, last_seq,
             last_received_ms)
         VALUES (?, ?, 1, ?, ?, ?, ?, ?)
         ON CONFLICT (camera_id) DO UPDATE SET
             node_id = excluded.node_id, frames = frames + 1,
             labelled = labelled + excluded.labelled, pixels = pixels + excluded.pixels,
             latent_bits = latent_bits + excluded.latent_bits, last_seq = excluded.last_seq,
             last_received_ms = excluded.last_received_ms",
    )
    .bind(&new.camera_id)
    .bind(&new.node_id)
    .bind(i64::from(state == FrameState::Labelled))
    .bind(pixels)
    .bind(new.latent_bits as i64)
    .bind(seq)
    .bind(new.received_ms)
    .execute(&mut **tx)
    .await?;
    Ok(Some(Frame {
        new,
        state,
        failure: String::new(),
        attempts: 0,
        quality: None,
        decode_ns: 0,
    }))
}

#[async_trait]
impl Catalogue for SqliteCatalogue {
    async fn insert(&self, frames: Vec<NewFrame>) -> Result<Vec<Option<Frame>>, CatalogueError> {
        let mut tx = self.begin().await?;
        let mut rows = Vec::with_capacity(frames.len());
        for frame in frames {
            rows.push(insert_one(&mut tx, frame).await?);
        }
        tx.commit().await?;
        Ok(rows)
    }

    async fn get(&self, id: Uuid) -> Result<Option<Frame>, CatalogueError> {
        let row: Option<FrameRow> = sqlx::query_as("SELECT * FROM frames WHERE frame_id = ?")
            .bind(id.as_bytes().as_slice())
            .fetch_optional(&self.readers)
            .await?;
        row.map(Frame::try_from).transpose()
    }

    async fn list(&self, page: &Page) -> Result<Option<Vec<Frame>>, CatalogueError> {
        let mut before = i64::MAX;
        if let Some(id) = page.before {
            let row: Option<(i64,)> = sqlx::query_as("SELECT seq FROM frames WHERE frame_id = ?")
                .bind(id.as_bytes().as_slice())
                .fetch_optional(&self.readers)
                .await?;
            let Some((seq,)) = row else { return Ok(None) };
            before = seq;
        }
        let query = match &page.camera {
            Some(camera) => sqlx::query_as(
                "SELECT * FROM frames WHERE camera_id = ? AND seq < ? ORDER BY seq DESC LIMIT ?",
            )
            .bind(camera),
            None => sqlx::query_as("SELECT * FROM frames WHERE seq < ? ORDER BY seq DESC LIMIT ?"),
        };
        let rows: Vec<FrameRow> = query
            .bind(before)
            .bind(page.limit)
            .fetch_all(&self.readers)
            .await?;
        let frames: Result<Vec<_>, _> = rows.into_iter().map(Frame::try_from).collect();
        frames.map(Some)
    }

    async fn claim(&self) -> Result<Option<Frame>, CatalogueError> {
        let now = now_ms();
        let row: Option<FrameRow> = sqlx::query_as(
            "UPDATE frames SET attempts = attempts + 1, not_before_ms = ?1 + ?2
             WHERE seq = (SELECT seq FROM frames
                          WHERE state = 'queued' AND not_before_ms <= ?1 ORDER BY seq LIMIT 1)
             RETURNING *",
        )
        .bind(now)
        .bind(CLAIM_MS)
        .fetch_optional(&self.writer)
        .await?;
        row.map(Frame::try_from).transpose()
    }

    async fn decoded(
        &self,
        id: Uuid,
        quality: Quality,
        decode_ns: u64,
    ) -> Result<Option<Frame>, CatalogueError> {
        let mut tx = self.begin().await?;
        let row: Option<FrameRow> = sqlx::query_as(
            "UPDATE frames SET state = 'decoded', decode_ns = ?, psnr_db = ?, ssim = ?,
                 ms_ssim = ?, seam_ratio = ?, original_seam_ratio = ?
             WHERE frame_id = ? AND state = 'queued' RETURNING *",
        )
        .bind(saturate(decode_ns))
        .bind(quality.psnr_db)
        .bind(quality.ssim)
        .bind(quality.ms_ssim)
        .bind(quality.seam_ratio)
        .bind(quality.original_seam_ratio)
        .bind(id.as_bytes().as_slice())
        .fetch_optional(&mut *tx)
        .await?;
        let Some(frame) = row.map(Frame::try_from).transpose()? else {
            return Ok(None);
        };
        let psnr = quality.psnr_db.filter(|psnr| psnr.is_finite());
        sqlx::query(
            "UPDATE cameras SET decoded = decoded + 1, measured = measured + ?,
                 psnr_sum = psnr_sum + ?, last_decoded = ? WHERE camera_id = ?",
        )
        .bind(i64::from(psnr.is_some()))
        .bind(psnr.unwrap_or(0.0))
        .bind(id.as_bytes().as_slice())
        .bind(&frame.new.camera_id)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Some(frame))
    }

    async fn retry(&self, id: Uuid, delay_ms: i64) -> Result<(), CatalogueError> {
        sqlx::query("UPDATE frames SET not_before_ms = ? WHERE frame_id = ? AND state = 'queued'")
            .bind(now_ms() + delay_ms)
            .bind(id.as_bytes().as_slice())
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    async fn failed(&self, id: Uuid, reason: &str) -> Result<Option<Frame>, CatalogueError> {
        let mut tx = self.begin().await?;
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

    async fn queued(&self) -> Result<u64, CatalogueError> {
        let (count,): (i64,) = sqlx::query_as("SELECT count(*) FROM frames WHERE state = 'queued'")
            .fetch_one(&self.readers)
            .await?;
        Ok(count as u64)
    }

    async fn cameras(&self) -> Result<Vec<Camera>, CatalogueError> {
        let rows: Vec<CameraRow> = sqlx::query_as(
            "SELECT c.*, f.frame_id AS last_frame,
                 (SELECT avg(psnr_db) FROM (SELECT psnr_db FROM frames
                      WHERE camera_id = c.camera_id ORDER BY seq DESC LIMIT ?)) AS recent_psnr
             FROM cameras c JOIN frames f ON f.seq = c.last_seq
             ORDER BY c.last_seq DESC LIMIT ?",
        )
        .bind(RECENT_FRAMES)
        .bind(MAX_CAMERAS)
        .fetch_all(&self.readers)
        .await?;
        rows.into_iter().map(Camera::try_from).collect()
    }

    async fn series(
        &self,
        camera: &str,
        metric: Metric,
        limit: u32,
    ) -> Result<Series, CatalogueError> {
        let mut points: Vec<(i64, f64)> = sqlx::query_as(series_query(metric))
            .bind(camera)
            .bind(limit)
            .fetch_all(&self.readers)
            .await?;
        points.sort_by_key(|&(captured_ms, _)| captured_ms);
        let (captured_ms, values) = points.into_iter().unzip();
        Ok(Series {
            camera: camera.to_owned(),
            captured_ms,
            values,
        })
    }
}

fn series_query(metric: Metric) -> &'static str {
    macro_rules! query {
        ($value:literal) => {
            concat!(
                "SELECT captured_ms, ",
                $value,
                " FROM frames WHERE camera_id = ? AND ",
                $value,
                " IS NOT NULL AND state <> 'labelled' ORDER BY seq DESC LIMIT ?"
            )
        };
    }
    match metric {
        Metric::PsnrDb => query!("psnr_db"),
        Metric::Ssim => query!("ssim"),
        Metric::MsSsim => query!("ms_ssim"),
        Metric::SeamRatio => query!("seam_ratio"),
        Metric::Bpp => query!("CAST(latent_bits AS REAL) / (width * height)"),
        Metric::LatentOnes => query!("latent_ones"),
        Metric::EncodeMs => query!("encode_ns / 1e6"),
        Metric::DecodeMs => query!("nullif(decode_ns, 0) / 1e6"),
    }
}

/// SQLite's integers are signed.
fn saturate(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
