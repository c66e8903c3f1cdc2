//! Queries about frames.

use std::collections::HashSet;

use serde::Serialize;
use sqlx::{FromRow, Row as _, any::AnyRow};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    Catalogue, CatalogueError,
    from_row::from_row,
    row::{FrameId, id},
    statement::{Statement, sql},
    sums::saturate,
};
use crate::frame::{Frame, FrameState, is_sure};

/// Several frames together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Kept {
    /// Number of frames.
    pub frames: u64,
    /// Bytes of their objects.
    pub bytes: u64,
}

/// Which frames to list, newest arrival first.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// All cameras when `None`.
    pub camera: Option<String>,
    /// Only frames in this state.
    pub state: Option<FrameState>,
    /// Frames that arrived before this one.
    pub before: Option<Uuid>,
    /// Most frames to return.
    pub limit: u32,
}

/// The likeliest class of a frame.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = Seen)]
pub struct LikeliestClass {
    /// The frame.
    pub frame: Uuid,
    /// The camera's id.
    pub camera: String,
    /// When the frame was captured, milliseconds since the Unix epoch.
    pub captured_ms: i64,
    /// Name of the class.
    pub label: String,
    /// Its softmax, 0 to 1.
    pub score: f64,
    /// Whether the score is high enough for the label to be shown as sure.
    pub sure: bool,
}

/// The statistics of a frame's latents.
#[derive(Clone, Debug, PartialEq)]
pub struct LatentSample {
    /// When the frame was captured, milliseconds since the Unix epoch.
    pub captured_ms: i64,
    /// PSNR in dB, if it was measured.
    pub psnr_db: Option<f64>,
    /// Share of set latent bits.
    pub latent_ones: Option<f64>,
    /// How often each bit of a patch is set, from 0 (never) to 255 (always).
    pub shares: Vec<u8>,
}

from_row! { LatentSample: captured_ms, psnr_db, latent_ones, shares }

impl Catalogue {
    /// One frame.
    ///
    /// # Errors
    /// The database failed.
    pub async fn get(&self, id: Uuid) -> Result<Option<Frame>, CatalogueError> {
        let query = sql("SELECT * FROM frames WHERE frame_id = $1").bind(&id.as_bytes()[..]);
        self.0.row(query).await
    }

    /// A page of frames, newest arrival first; `None` when `page.before` is not kept.
    ///
    /// # Errors
    /// The database failed.
    pub async fn list(&self, page: &Page) -> Result<Option<Vec<Frame>>, CatalogueError> {
        let Some(query) = self.select("*", "", page).await? else {
            return Ok(None);
        };
        self.0.rows(query).await.map(Some)
    }

    /// The likeliest classes of a page of frames with a label; `None` when `page.before` is not kept.
    ///
    /// # Errors
    /// The database failed.
    pub async fn labels(&self, page: &Page) -> Result<Option<Vec<LikeliestClass>>, CatalogueError> {
        let class = self.0.dialect.likeliest_class;
        let columns = format!("frame_id, camera_id, captured_ms, {class}");
        let only = " AND label_scores IS NOT NULL";
        let Some(query) = self.select(&columns, only, page).await? else {
            return Ok(None);
        };
        self.0.rows(query).await.map(Some)
    }

    /// The statement for a page; `None` when the frame that it begins after is not kept.
    async fn select(
        &self,
        columns: &str,
        only: &str,
        page: &Page,
    ) -> Result<Option<Statement>, CatalogueError> {
        let mut before = i64::MAX;
        if let Some(id) = page.before {
            let query = sql("SELECT seq FROM frames WHERE frame_id = $1").bind(&id.as_bytes()[..]);
            let Some((seq,)) = self.0.row(query).await? else {
                return Ok(None);
            };
            before = seq;
        }
        let mut query = sql("SELECT ")
            .push(columns)
            .push(" FROM frames WHERE seq < ");
        query = query.value(before);
        if let Some(camera) = &page.camera {
            query = query.push(" AND camera_id = ").value(camera.as_str());
        }
        if let Some(state) = page.state {
            // Written into the text, because SQLite uses no partial index for a bound value.
            query = query.push(&format!(" AND state = '{}'", state.name()));
        }
        let query = query.push(only).push(" ORDER BY seq DESC LIMIT ");
        Ok(Some(query.value(i64::from(page.limit))))
    }

    /// Frames that failed for a reason, first arrival first, at most `limit`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn failed_for(&self, reason: &str, limit: u32) -> Result<Vec<Uuid>, CatalogueError> {
        let query = sql(
            "SELECT frame_id FROM frames WHERE state = 'failed' AND failure = $1
                         ORDER BY seq LIMIT $2",
        );
        let query = query.bind(reason).bind(i64::from(limit));
        let ids: Vec<FrameId> = self.0.rows(query).await?;
        Ok(ids.into_iter().map(|FrameId(id)| id).collect())
    }

    /// Frames that do not wait for the decoder, first arrival first, at most `limit`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn oldest(&self, limit: u32) -> Result<Vec<Frame>, CatalogueError> {
        let query = sql("SELECT * FROM frames WHERE state <> 'queued' ORDER BY seq LIMIT $1");
        self.0.rows(query.bind(i64::from(limit))).await
    }

    /// All frames together.
    ///
    /// # Errors
    /// The database failed.
    pub async fn kept(&self) -> Result<Kept, CatalogueError> {
        let query = sql("SELECT CAST(coalesce(sum(frames), 0) AS BIGINT),
                                CAST(coalesce(sum(bytes), 0) AS BIGINT) FROM cameras");
        Ok(kept(self.0.only_row(query).await?))
    }

    /// Those of [`oldest`](Self::oldest) that arrived before a time, in milliseconds since the Unix epoch, and further
    /// ones until `bytes` would be freed.
    ///
    /// # Errors
    /// The database failed.
    pub async fn due(&self, before_ms: i64, bytes: u64) -> Result<Kept, CatalogueError> {
        let query = sql(
            "SELECT count(*), CAST(coalesce(sum(bytes), 0) AS BIGINT) FROM (
                 SELECT bytes, received_ms, sum(bytes) OVER (ORDER BY seq) - bytes AS freed
                 FROM frames WHERE state <> 'queued') AS ended
             WHERE received_ms < $1 OR freed < $2",
        );
        let query = query.bind(before_ms).bind(saturate(bytes));
        Ok(kept(self.0.only_row(query).await?))
    }

    /// Those of these frames that have no row.
    ///
    /// # Errors
    /// The database failed.
    pub async fn absent(&self, frames: &[Uuid]) -> Result<Vec<Uuid>, CatalogueError> {
        let Some((first, rest)) = frames.split_first() else {
            return Ok(Vec::new());
        };
        let mut query = sql("SELECT frame_id FROM frames WHERE frame_id IN (");
        query = query.value(&first.as_bytes()[..]);
        for id in rest {
            query = query.next(&id.as_bytes()[..]);
        }
        let present: Vec<FrameId> = self.0.rows(query.push(")")).await?;
        let present: HashSet<_> = present.into_iter().map(|FrameId(id)| id).collect();
        let absent = frames.iter().filter(|id| !present.contains(id));
        Ok(absent.copied().collect())
    }

    /// The latent statistics of the last `limit` frames by a camera's newest program, newest arrival first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn latents(
        &self,
        camera: &str,
        limit: u32,
    ) -> Result<Vec<LatentSample>, CatalogueError> {
        let query = sql(
            "SELECT captured_ms, psnr_db, latent_ones, latent_shares AS shares FROM frames
             WHERE camera_id = $1 AND latent_shares IS NOT NULL AND program_id =
                 (SELECT program_id FROM frames
                  WHERE camera_id = $1 AND latent_shares IS NOT NULL ORDER BY seq DESC LIMIT 1)
             ORDER BY seq DESC LIMIT $2",
        );
        self.0.rows(query.bind(camera).bind(i64::from(limit))).await
    }
}

/// Sums of databases are signed integers.
fn kept((frames, bytes): (i64, i64)) -> Kept {
    Kept {
        frames: frames.max(0) as u64,
        bytes: bytes.max(0) as u64,
    }
}

impl FromRow<'_, AnyRow> for LikeliestClass {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        let score = row.try_get("score")?;
        Ok(Self {
            frame: id(row, "frame_id")?,
            camera: row.try_get("camera_id")?,
            captured_ms: row.try_get("captured_ms")?,
            label: row.try_get("label")?,
            score,
            sure: is_sure(score),
        })
    }
}
