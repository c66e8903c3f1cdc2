//! The catalogue in PostgreSQL, shared by any number of processes.

mod write;

use std::time::Duration;

use sqlx::{
    Connection as _, PgConnection, PgPool, Postgres, QueryBuilder,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::timeout;
use tonic::async_trait;
use uuid::Uuid;

use super::{
    Camera, Catalogue, CatalogueError, History, Kept, LatentSample, Lead, MAX_CAMERAS, Metric,
    Page, RECENT_FRAMES, Seen, Series, Span, history,
    row::{CameraRow, FrameRow, SeenRow, frame_id},
    series_query,
};
use crate::{
    clock::now_ms,
    frame::{Frame, NewFrame, Quality, Work},
};

/// Connections of one process.
const CONNECTIONS: u32 = 16;
/// Longest wait for a connection, the first one included.
const PATIENCE: Duration = Duration::from_secs(10);
/// Times that a transaction is tried that the database broke off in favour of another.
const TRIES: u32 = 5;
/// Key of the advisory lock of [`Catalogue::lead`].
const LEAD: i64 = 0x7061_7463_6877_6972;

/// [`Catalogue`] in one PostgreSQL database.
pub struct PostgresCatalogue {
    pool: PgPool,
    options: PgConnectOptions,
}

/// Tries a transaction again that lost against another.
macro_rules! tried {
    ($transaction:expr) => {{
        let mut tries = 1;
        loop {
            let result = $transaction.await;
            match &result {
                Err(CatalogueError::Database(error)) if tries < TRIES && is_rivalry(error) => {
                    tries += 1;
                }
                _ => break result,
            }
        }
    }};
}

impl PostgresCatalogue {
    /// Connects and brings the schema up to date; of several processes that do so at once, one does.
    ///
    /// # Errors
    /// The address is none, the database cannot be reached, or its schema is not ours.
    pub async fn connect(url: &str) -> Result<Self, CatalogueError> {
        let options: PgConnectOptions = url.parse()?;
        let options = options.application_name("cloud-decoder");
        // A pool would try again until its time is over, and say that alone.
        let first = timeout(PATIENCE, PgConnection::connect_with(&options)).await;
        first
            .map_err(|_| sqlx::Error::PoolTimedOut)??
            .close()
            .await?;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .connect_with(options.clone())
            .await?;
        sqlx::migrate!("migrations/postgres").run(&pool).await?;
        Ok(Self { pool, options })
    }

    /// Counts an attempt at a queued frame. `None` when it is not queued any more.
    pub(crate) async fn begin(&self, id: Uuid) -> Result<Option<Frame>, CatalogueError> {
        let row: Option<FrameRow> = sqlx::query_as(
            "UPDATE frames SET attempts = attempts + 1
             WHERE frame_id = $1 AND state = 'queued' RETURNING *",
        )
        .bind(id.as_bytes().as_slice())
        .fetch_optional(&self.pool)
        .await?;
        row.map(Frame::try_from).transpose()
    }

    /// Takes an attempt back that was not the frame's fault.
    pub(crate) async fn uncount(&self, id: Uuid) -> Result<(), CatalogueError> {
        sqlx::query(
            "UPDATE frames SET attempts = greatest(attempts - 1, 0)
             WHERE frame_id = $1 AND state = 'queued'",
        )
        .bind(id.as_bytes().as_slice())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Queued frames that were last offered before a time, in milliseconds since the Unix epoch, at most `limit`; from
    /// now on they count as offered.
    pub(crate) async fn offered_before(
        &self,
        before_ms: i64,
        limit: u32,
    ) -> Result<Vec<Frame>, CatalogueError> {
        let rows: Vec<FrameRow> = sqlx::query_as(
            "UPDATE frames SET offered_ms = $1 WHERE seq IN (
                 SELECT seq FROM frames WHERE state = 'queued' AND offered_ms < $2
                 ORDER BY offered_ms LIMIT $3 FOR UPDATE SKIP LOCKED)
             RETURNING *",
        )
        .bind(now_ms())
        .bind(before_ms)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Frame::try_from).collect()
    }

    /// What a page selects, but for its order; `None` when the frame that it begins after is not kept.
    async fn page(
        &self,
        columns: &str,
        page: &Page,
    ) -> Result<Option<QueryBuilder<Postgres>>, CatalogueError> {
        let mut before = i64::MAX;
        if let Some(id) = page.before {
            let row: Option<(i64,)> = sqlx::query_as("SELECT seq FROM frames WHERE frame_id = $1")
                .bind(id.as_bytes().as_slice())
                .fetch_optional(&self.pool)
                .await?;
            let Some((seq,)) = row else { return Ok(None) };
            before = seq;
        }
        let mut query = QueryBuilder::<Postgres>::new("SELECT ");
        query.push(columns).push(" FROM frames WHERE seq < ");
        query.push_bind(before);
        if let Some(camera) = page.camera.clone() {
            query.push(" AND camera_id = ").push_bind(camera);
        }
        if let Some(state) = page.state {
            query.push(" AND state = ").push_bind(state.name());
        }
        Ok(Some(query))
    }
}

/// Whether a transaction was broken off because of another one: a deadlock or a failed serialization.
fn is_rivalry(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("40P01" | "40001"))
}

#[async_trait]
impl Catalogue for PostgresCatalogue {
    async fn insert(&self, frames: Vec<NewFrame>) -> Result<Vec<Option<Frame>>, CatalogueError> {
        tried!(write::insert_all(&self.pool, &frames))
    }

    async fn get(&self, id: Uuid) -> Result<Option<Frame>, CatalogueError> {
        let row: Option<FrameRow> = sqlx::query_as("SELECT * FROM frames WHERE frame_id = $1")
            .bind(id.as_bytes().as_slice())
            .fetch_optional(&self.pool)
            .await?;
        row.map(Frame::try_from).transpose()
    }

    async fn list(&self, page: &Page) -> Result<Option<Vec<Frame>>, CatalogueError> {
        let Some(mut query) = self.page("*", page).await? else {
            return Ok(None);
        };
        query
            .push(" ORDER BY seq DESC LIMIT ")
            .push_bind(i64::from(page.limit));
        let rows: Vec<FrameRow> = query.build_query_as().fetch_all(&self.pool).await?;
        let frames: Result<Vec<_>, _> = rows.into_iter().map(Frame::try_from).collect();
        frames.map(Some)
    }

    async fn labels(&self, page: &Page) -> Result<Option<Vec<Seen>>, CatalogueError> {
        // Written by this service, most likely class first.
        let columns = "frame_id, camera_id, captured_ms,
             label_scores::jsonb -> 0 ->> 'label' AS label,
             (label_scores::jsonb -> 0 ->> 'score')::DOUBLE PRECISION AS score";
        let Some(mut query) = self.page(columns, page).await? else {
            return Ok(None);
        };
        query
            .push(" AND label_scores IS NOT NULL ORDER BY seq DESC LIMIT ")
            .push_bind(i64::from(page.limit));
        let rows: Vec<SeenRow> = query.build_query_as().fetch_all(&self.pool).await?;
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
        tried!(write::set_decoded(&self.pool, id, quality, work, bytes))
    }

    async fn failed(&self, id: Uuid, reason: &str) -> Result<Option<Frame>, CatalogueError> {
        tried!(write::set_failed(&self.pool, id, reason))
    }

    async fn requeue(&self, id: Uuid, bytes: u64) -> Result<Option<Frame>, CatalogueError> {
        tried!(write::requeue(&self.pool, id, bytes))
    }

    async fn failed_for(&self, reason: &str, limit: u32) -> Result<Vec<Uuid>, CatalogueError> {
        let sql = "SELECT frame_id FROM frames WHERE state = 'failed' AND failure = $1
                   ORDER BY seq LIMIT $2";
        let ids: Vec<(Vec<u8>,)> = sqlx::query_as(sql)
            .bind(reason)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
        ids.iter().map(|(id,)| frame_id(id)).collect()
    }

    async fn oldest(&self, limit: u32) -> Result<Vec<Frame>, CatalogueError> {
        let rows: Vec<FrameRow> =
            sqlx::query_as("SELECT * FROM frames WHERE state <> 'queued' ORDER BY seq LIMIT $1")
                .bind(i64::from(limit))
                .fetch_all(&self.pool)
                .await?;
        rows.into_iter().map(Frame::try_from).collect()
    }

    async fn remove(&self, frames: &[Uuid]) -> Result<(), CatalogueError> {
        tried!(write::remove_all(&self.pool, frames))
    }

    async fn kept(&self) -> Result<Kept, CatalogueError> {
        let (frames, bytes): (i64, i64) = sqlx::query_as(
            "SELECT coalesce(sum(frames), 0)::BIGINT, coalesce(sum(bytes), 0)::BIGINT FROM cameras",
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(Kept::new(frames, bytes))
    }

    async fn due(&self, before_ms: i64, bytes: u64) -> Result<Kept, CatalogueError> {
        let (frames, bytes): (i64, i64) = sqlx::query_as(
            "SELECT count(*), coalesce(sum(bytes), 0)::BIGINT FROM (
                 SELECT bytes, received_ms, sum(bytes) OVER (ORDER BY seq) - bytes AS freed
                 FROM frames WHERE state <> 'queued') AS settled
             WHERE received_ms < $1 OR freed < $2",
        )
        .bind(before_ms)
        .bind(i64::try_from(bytes).unwrap_or(i64::MAX))
        .fetch_one(&self.pool)
        .await?;
        Ok(Kept::new(frames, bytes))
    }

    async fn queued(&self) -> Result<u64, CatalogueError> {
        let (count,): (i64,) = sqlx::query_as("SELECT count(*) FROM frames WHERE state = 'queued'")
            .fetch_one(&self.pool)
            .await?;
        Ok(count as u64)
    }

    async fn queued_since(&self) -> Result<Option<i64>, CatalogueError> {
        let sql = "SELECT received_ms FROM frames WHERE state = 'queued' ORDER BY seq LIMIT 1";
        let row: Option<(i64,)> = sqlx::query_as(sql).fetch_optional(&self.pool).await?;
        Ok(row.map(|(received_ms,)| received_ms))
    }

    async fn cameras(&self) -> Result<Vec<Camera>, CatalogueError> {
        let rows: Vec<CameraRow> = sqlx::query_as(
            "SELECT c.*, f.frame_id AS last_frame,
                 (SELECT avg(psnr_db) FROM (SELECT psnr_db FROM frames
                      WHERE camera_id = c.camera_id ORDER BY seq DESC LIMIT $1) AS recent) AS recent_psnr
             FROM cameras c JOIN frames f ON f.seq = c.last_seq
             ORDER BY c.last_seq DESC LIMIT $2",
        )
        .bind(i64::from(RECENT_FRAMES))
        .bind(i64::from(MAX_CAMERAS))
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Camera::try_from).collect()
    }

    async fn series(
        &self,
        camera: &str,
        metric: Metric,
        limit: u32,
    ) -> Result<Series, CatalogueError> {
        let points = sqlx::query_as(series_query(metric))
            .bind(camera)
            .bind(i64::from(limit))
            .fetch_all(&self.pool);
        Ok(Series::new(camera, points.await?))
    }

    async fn history(&self, span: &Span) -> Result<History, CatalogueError> {
        history::read_postgres(&self.pool, span).await
    }

    async fn latents(&self, camera: &str, limit: u32) -> Result<Vec<LatentSample>, CatalogueError> {
        let rows = sqlx::query_as(history::LATENTS)
            .bind(camera)
            .bind(i64::from(limit))
            .fetch_all(&self.pool);
        Ok(rows.await?)
    }

    async fn lead(&self) -> Result<Option<Lead>, CatalogueError> {
        let mut connection = PgConnection::connect_with(&self.options).await?;
        let (got,): (bool,) = sqlx::query_as("SELECT pg_try_advisory_lock($1)")
            .bind(LEAD)
            .fetch_one(&mut connection)
            .await?;
        if !got {
            connection.close().await?;
            return Ok(None);
        }
        Ok(Some(Lead::of(connection)))
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}
