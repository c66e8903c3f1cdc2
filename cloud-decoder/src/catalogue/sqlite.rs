//! The catalogue in SQLite: WAL, `synchronous = FULL`, one writing connection and a few readers.

use std::path::Path;

use sqlx::{
    QueryBuilder, Sqlite, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tonic::async_trait;
use uuid::Uuid;

use super::{
    Camera, Catalogue, CatalogueError, History, Kept, LatentSample, Lead, MAX_CAMERAS, Metric,
    Page, RECENT_FRAMES, Seen, Series, Span, history,
    row::{CameraRow, FrameRow, SeenRow, frame_id},
    series_query, undo, write,
};
use crate::{
    clock::steady_ms,
    frame::{Frame, FrameState, NewFrame, Quality, Work},
};

/// How long a claim holds, in milliseconds: longer than any frame takes to decode.
const CLAIM_MS: i64 = 15 * 60 * 1000;
const READERS: u32 = 4;

/// [`Catalogue`] in one SQLite file, owned by one process.
pub struct SqliteCatalogue {
    // SQLite takes one writer at a time; queueing for it here never meets SQLITE_BUSY.
    pub(super) writer: SqlitePool,
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
        sqlx::migrate!("migrations/sqlite").run(&writer).await?;
        sqlx::query("UPDATE frames SET not_before_ms = 0 WHERE state = 'queued'")
            .execute(&writer)
            .await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.read_only(true))
            .await?;
        Ok(Self { writer, readers })
    }
}

#[async_trait]
impl Catalogue for SqliteCatalogue {
    async fn lead(&self) -> Result<Option<Lead>, CatalogueError> {
        Ok(Some(Lead::alone()))
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    async fn insert(&self, frames: Vec<NewFrame>) -> Result<Vec<Option<Frame>>, CatalogueError> {
        let mut connection = self.writer.acquire().await?;
        let result = write::insert_all(&mut connection, frames).await;
        write::settled(connection, result).await
    }

    async fn get(&self, id: Uuid) -> Result<Option<Frame>, CatalogueError> {
        let row: Option<FrameRow> = sqlx::query_as("SELECT * FROM frames WHERE frame_id = ?")
            .bind(id.as_bytes().as_slice())
            .fetch_optional(&self.readers)
            .await?;
        row.map(Frame::try_from).transpose()
    }

    async fn list(&self, page: &Page) -> Result<Option<Vec<Frame>>, CatalogueError> {
        let Some(mut query) = self.page("*", page).await? else {
            return Ok(None);
        };
        query
            .push(" ORDER BY seq DESC LIMIT ")
            .push_bind(page.limit);
        let rows: Vec<FrameRow> = query.build_query_as().fetch_all(&self.readers).await?;
        let frames: Result<Vec<_>, _> = rows.into_iter().map(Frame::try_from).collect();
        frames.map(Some)
    }

    async fn labels(&self, page: &Page) -> Result<Option<Vec<Seen>>, CatalogueError> {
        // Written by this service, most likely class first.
        let columns = "frame_id, camera_id, captured_ms, label_scores ->> '$[0].label' AS label,
             CAST(label_scores ->> '$[0].score' AS REAL) AS score";
        let Some(mut query) = self.page(columns, page).await? else {
            return Ok(None);
        };
        query
            .push(" AND label_scores IS NOT NULL ORDER BY seq DESC LIMIT ")
            .push_bind(page.limit);
        let rows: Vec<SeenRow> = query.build_query_as().fetch_all(&self.readers).await?;
        let seen: Result<Vec<_>, _> = rows.into_iter().map(Seen::try_from).collect();
        seen.map(Some)
    }

    async fn decoded(
        &self,
        id: Uuid,
        quality: Quality,
        work: Work,
        bytes: u64,
    ) -> Result<Option<Frame>, CatalogueError> {
        let mut connection = self.writer.acquire().await?;
        let result = write::set_decoded(&mut connection, id, quality, work, bytes).await;
        write::settled(connection, result).await
    }

    async fn failed_for(&self, reason: &str, limit: u32) -> Result<Vec<Uuid>, CatalogueError> {
        let sql = "SELECT frame_id FROM frames WHERE state = 'failed' AND failure = ?
                   ORDER BY seq LIMIT ?";
        let ids: Vec<(Vec<u8>,)> = sqlx::query_as(sql)
            .bind(reason)
            .bind(limit)
            .fetch_all(&self.readers)
            .await?;
        ids.iter().map(|(id,)| frame_id(id)).collect()
    }

    async fn failed(&self, id: Uuid, reason: &str) -> Result<Option<Frame>, CatalogueError> {
        let mut connection = self.writer.acquire().await?;
        let result = write::set_failed(&mut connection, id, reason).await;
        write::settled(connection, result).await
    }

    async fn requeue(&self, id: Uuid, bytes: u64) -> Result<Option<Frame>, CatalogueError> {
        let mut connection = self.writer.acquire().await?;
        let result = undo::requeue(&mut connection, id, bytes).await;
        write::settled(connection, result).await
    }

    async fn oldest(&self, limit: u32) -> Result<Vec<Frame>, CatalogueError> {
        let rows: Vec<FrameRow> =
            sqlx::query_as("SELECT * FROM frames WHERE state <> 'queued' ORDER BY seq LIMIT ?")
                .bind(limit)
                .fetch_all(&self.readers)
                .await?;
        rows.into_iter().map(Frame::try_from).collect()
    }

    async fn remove(&self, frames: &[Uuid]) -> Result<(), CatalogueError> {
        let mut connection = self.writer.acquire().await?;
        let result = undo::remove_all(&mut connection, frames).await;
        write::settled(connection, result).await
    }

    async fn kept(&self) -> Result<Kept, CatalogueError> {
        let sums =
            sqlx::query_as("SELECT coalesce(sum(frames), 0), coalesce(sum(bytes), 0) FROM cameras");
        let (frames, bytes): (i64, i64) = sums.fetch_one(&self.readers).await?;
        Ok(Kept::new(frames, bytes))
    }

    async fn due(&self, before_ms: i64, bytes: u64) -> Result<Kept, CatalogueError> {
        let (frames, bytes): (i64, i64) = sqlx::query_as(
            "SELECT count(*), coalesce(sum(bytes), 0) FROM (
                 SELECT bytes, received_ms, sum(bytes) OVER (ORDER BY seq) - bytes AS freed
                 FROM frames WHERE state <> 'queued')
             WHERE received_ms < ? OR freed < ?",
        )
        .bind(before_ms)
        .bind(i64::try_from(bytes).unwrap_or(i64::MAX))
        .fetch_one(&self.readers)
        .await?;
        Ok(Kept::new(frames, bytes))
    }

    async fn queued(&self) -> Result<u64, CatalogueError> {
        let (count,): (i64,) = sqlx::query_as("SELECT count(*) FROM frames WHERE state = 'queued'")
            .fetch_one(&self.readers)
            .await?;
        Ok(count as u64)
    }

    async fn queued_since(&self) -> Result<Option<i64>, CatalogueError> {
        let sql = "SELECT received_ms FROM frames WHERE state = 'queued' ORDER BY seq LIMIT 1";
        let row: Option<(i64,)> = sqlx::query_as(sql).fetch_optional(&self.readers).await?;
        Ok(row.map(|(received_ms,)| received_ms))
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
        let points = sqlx::query_as(series_query(metric));
        let points = points.bind(camera).bind(limit).fetch_all(&self.readers);
        Ok(Series::new(camera, points.await?))
    }

    async fn history(&self, span: &Span) -> Result<History, CatalogueError> {
        history::read(&self.readers, span).await
    }

    async fn latents(&self, camera: &str, limit: u32) -> Result<Vec<LatentSample>, CatalogueError> {
        let rows = sqlx::query_as(history::LATENTS);
        let rows = rows.bind(camera).bind(limit).fetch_all(&self.readers);
        Ok(rows.await?)
    }
}

/// The queue, which is the rows in state `queued`.
impl SqliteCatalogue {
    /// Takes the oldest queued frame and counts the attempt. The claim lapses after [`CLAIM_MS`], so that the frame of a
    /// worker that died is taken again.
    pub(crate) async fn claim(&self) -> Result<Option<Frame>, CatalogueError> {
        let now = steady_ms();
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

    /// Gives a claimed frame back, to be claimed again after `delay_ms`.
    pub(crate) async fn retry(&self, id: Uuid, delay_ms: i64) -> Result<(), CatalogueError> {
        sqlx::query("UPDATE frames SET not_before_ms = ? WHERE frame_id = ? AND state = 'queued'")
            .bind(steady_ms() + delay_ms)
            .bind(id.as_bytes().as_slice())
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Like [`retry`](Self::retry), for an attempt that does not count.
    pub(crate) async fn put_back(&self, id: Uuid, delay_ms: i64) -> Result<(), CatalogueError> {
        let sql = "UPDATE frames SET not_before_ms = ?, attempts = max(attempts - 1, 0)
                   WHERE frame_id = ? AND state = 'queued'";
        sqlx::query(sql)
            .bind(steady_ms() + delay_ms)
            .bind(id.as_bytes().as_slice())
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}

impl SqliteCatalogue {
    /// What a page selects, but for its order; `None` when the frame that it begins after is not kept.
    async fn page(
        &self,
        columns: &str,
        page: &Page,
    ) -> Result<Option<QueryBuilder<Sqlite>>, CatalogueError> {
        let mut before = i64::MAX;
        if let Some(id) = page.before {
            let row: Option<(i64,)> = sqlx::query_as("SELECT seq FROM frames WHERE frame_id = ?")
                .bind(id.as_bytes().as_slice())
                .fetch_optional(&self.readers)
                .await?;
            let Some((seq,)) = row else { return Ok(None) };
            before = seq;
        }
        let mut query = QueryBuilder::<Sqlite>::new("SELECT ");
        query.push(columns).push(" FROM frames WHERE seq < ");
        query.push_bind(before);
        if let Some(camera) = page.camera.clone() {
            query.push(" AND camera_id = ").push_bind(camera);
        }
        if let Some(state) = page.state {
            // Spelled out, because a partial index is not used for a value that is bound.
            query.push(match state {
                FrameState::Queued => " AND state = 'queued'",
                FrameState::Decoded => " AND state = 'decoded'",
                FrameState::Labelled => " AND state = 'labelled'",
                FrameState::Failed => " AND state = 'failed'",
            });
        }
        Ok(Some(query))
    }
}
