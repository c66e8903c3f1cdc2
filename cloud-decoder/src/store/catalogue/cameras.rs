//! Queries about cameras, and about all cameras together.

use serde::Serialize;
use sqlx::{FromRow, Row as _, any::AnyRow};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Catalogue, CatalogueError, from_row::from_row, row::id, statement::sql};

/// Frames whose PSNR makes a camera's recent mean.
const RECENT_FRAMES: i64 = 50;

/// One camera, as the catalogue sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Camera {
    /// The camera's id.
    pub camera: String,
    /// The edge node that last sent a frame of it.
    pub node: String,
    /// Frames kept.
    pub frames: u64,
    /// Of these, reconstructed.
    pub decoded: u64,
    /// Of these, label only.
    pub labelled: u64,
    /// Of these, given up.
    pub failed: u64,
    /// Pixels of the frames with latents.
    pub pixels: u64,
    /// Bits of their latents.
    pub latent_bits: u64,
    /// Bytes that the camera sent, of the frames with latents whose edge node reported them.
    pub source_bytes: u64,
    /// Bits of latents of these frames.
    pub sourced_bits: u64,
    /// Mean bits per pixel of the frames with latents.
    pub mean_bpp: Option<f64>,
    /// Decoded frames with an original and a finite PSNR.
    pub measured: u64,
    /// Mean PSNR in dB of all measured frames.
    pub mean_psnr_db: Option<f64>,
    /// Mean PSNR in dB of the measured ones among the last 50 frames.
    pub recent_psnr_db: Option<f64>,
    /// When the last frame arrived, milliseconds since the Unix epoch.
    pub last_received_ms: i64,
    /// The last frame.
    pub last_frame: Uuid,
    /// The frame that was decoded last.
    pub last_decoded: Option<Uuid>,
    /// Longest usual time between two frames in milliseconds, once it is learned.
    pub expected_ms: Option<i64>,
    /// If the camera is silent now, arrival of its last frame, milliseconds since the Unix epoch.
    pub silent_since_ms: Option<i64>,
    /// Since when the scene has changed, if it has.
    pub changed_since_ms: Option<i64>,
}

impl Camera {
    /// Cameras by urgency: silent ones, ones of which no frame could be decoded, ones whose scene has changed, the
    /// rest; by name within each group.
    fn worst_first(&self) -> (u8, &str) {
        let failing = self.failed > 0 && self.decoded == 0 && self.labelled == 0;
        let rank = match (self.silent_since_ms, failing, self.changed_since_ms) {
            (Some(_), _, _) => 0,
            (_, true, _) => 1,
            (_, _, Some(_)) => 2,
            _ => 3,
        };
        (rank, &self.camera)
    }
}

impl FromRow<'_, AnyRow> for Camera {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        let count = |column| row.try_get::<i64, _>(column).map(|value| value as u64);
        let mean = |sum: f64, count: u64| (count > 0).then(|| sum / count as f64);
        let (pixels, latent_bits) = (count("pixels")?, count("latent_bits")?);
        let measured = count("measured")?;
        let decoded_once: Option<&[u8]> = row.try_get("last_decoded")?;
        Ok(Self {
            camera: row.try_get("camera_id")?,
            node: row.try_get("node_id")?,
            frames: count("frames")?,
            decoded: count("decoded")?,
            labelled: count("labelled")?,
            failed: count("failed")?,
            pixels,
            latent_bits,
            source_bytes: count("source_bytes")?,
            sourced_bits: count("sourced_bits")?,
            mean_bpp: mean(latent_bits as f64, pixels),
            measured,
            mean_psnr_db: mean(row.try_get("psnr_sum")?, measured),
            recent_psnr_db: row.try_get("recent_psnr")?,
            last_received_ms: row.try_get("last_received_ms")?,
            last_frame: id(row, "last_frame")?,
            last_decoded: decoded_once.map(|_| id(row, "last_decoded")).transpose()?,
            expected_ms: row.try_get("expected_ms")?,
            silent_since_ms: row.try_get("silent_ms")?,
            changed_since_ms: row.try_get("drifting_ms")?,
        })
    }
}

/// Sums over all cameras.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    /// Cameras of which frames are kept.
    pub cameras: i64,
    /// Of these, those with a frame since a time.
    pub cameras_live: i64,
    /// Of these, those with latents and without a usual scene yet.
    pub cameras_learning: i64,
    /// Frames kept.
    pub frames: i64,
    /// Of these, reconstructed.
    pub decoded: i64,
    /// Of these, label only.
    pub labelled: i64,
    /// Of these, given up.
    pub failed: i64,
    /// Pixels of the frames with latents.
    pub pixels: i64,
    /// Bits of their latents.
    pub latent_bits: i64,
    /// Decoded frames with a finite PSNR.
    pub measured: i64,
    /// Sum of their PSNR in dB.
    pub psnr_sum: f64,
}

from_row! {
    Totals:
        cameras, cameras_live, cameras_learning, frames, decoded, labelled, failed, pixels,
        latent_bits, measured, psnr_sum
}

/// The ongoing alarms of a camera `c`: `s` for silence, `d` for a changed scene.
const STANDING: &str = "
    LEFT JOIN alarms s ON s.camera_id = c.camera_id AND s.kind = 'silent' AND s.end_ms IS NULL
    LEFT JOIN alarms d ON d.camera_id = c.camera_id AND d.kind = 'drift' AND d.end_ms IS NULL";

impl Catalogue {
    /// Cameras after the first `offset`, at most `limit`: silent ones first, then failing ones, then ones whose scene
    /// has changed, then the rest, each by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn cameras(&self, limit: u32, offset: u32) -> Result<Vec<Camera>, CatalogueError> {
        let query = format!(
            "SELECT c.*, f.frame_id AS last_frame,
                 (SELECT avg(psnr_db) FROM (SELECT psnr_db FROM frames
                      WHERE camera_id = c.camera_id ORDER BY seq DESC LIMIT $1) AS recent) AS recent_psnr,
                 w.expected_ms, s.begin_ms AS silent_ms, d.begin_ms AS drifting_ms
             FROM (SELECT c.camera_id FROM cameras c {STANDING}
                   ORDER BY CASE WHEN s.begin_ms IS NOT NULL THEN 0
                            WHEN c.failed > 0 AND c.decoded = 0 AND c.labelled = 0 THEN 1
                            WHEN d.begin_ms IS NOT NULL THEN 2 ELSE 3 END,
                       c.camera_id
                   LIMIT $2 OFFSET $3) AS page
             JOIN cameras c ON c.camera_id = page.camera_id
             JOIN frames f ON f.seq = c.last_seq
             LEFT JOIN watches w ON w.camera_id = c.camera_id {STANDING}"
        );
        let query = sql(&query)
            .bind(RECENT_FRAMES)
            .bind(i64::from(limit))
            .bind(i64::from(offset));
        let mut cameras: Vec<Camera> = self.0.rows(query).await?;
        // A join may change the order of the page.
        cameras.sort_by(|a, b| a.worst_first().cmp(&b.worst_first()));
        Ok(cameras)
    }

    /// Sums over all cameras; live are those that sent a frame since a time, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// The database failed.
    pub async fn totals(&self, live_since_ms: i64) -> Result<Totals, CatalogueError> {
        let query = sql("SELECT count(*) AS cameras,
                 CAST(coalesce(sum(CASE WHEN last_received_ms >= $1 THEN 1 ELSE 0 END), 0) AS BIGINT) AS cameras_live,
                 (SELECT count(*) FROM cameras c WHERE latent_bits > 0 AND NOT EXISTS
                      (SELECT 1 FROM watches w WHERE w.camera_id = c.camera_id AND w.learned = 1)) AS cameras_learning,
                 CAST(coalesce(sum(frames), 0) AS BIGINT) AS frames,
                 CAST(coalesce(sum(decoded), 0) AS BIGINT) AS decoded,
                 CAST(coalesce(sum(labelled), 0) AS BIGINT) AS labelled,
                 CAST(coalesce(sum(failed), 0) AS BIGINT) AS failed,
                 CAST(coalesce(sum(pixels), 0) AS BIGINT) AS pixels,
                 CAST(coalesce(sum(latent_bits), 0) AS BIGINT) AS latent_bits,
                 CAST(coalesce(sum(measured), 0) AS BIGINT) AS measured,
                 CAST(coalesce(sum(psnr_sum), 0) AS DOUBLE PRECISION) AS psnr_sum
             FROM cameras");
        self.0.only_row(query.bind(live_since_ms)).await
    }
}
