//! The catalogue in PostgreSQL, shared by any number of processes.

mod write;

use std::time::Duration;

use sqlx::{
    Connection as _, PgConnection, PgPool, Postgres,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    Camera, CatalogueError, End, History, Kept, LatentSample, Lead, Metric, Page, Place,
    RECENT_FRAMES, Seen, Series, Span, StoreId, Totals, history,
    migrations::{POSTGRES, migrator},
    read,
    row::{CameraRow, FrameRow, SeenRow, frame_id},
    series_query,
    sums::saturate,
};
use crate::frame::{Frame, FrameState, NewFrame, Quality, Work};

/// Connections of one process.
const CONNECTIONS: u32 = 16;
/// Longest wait for a connection, the first one included.
const PATIENCE: Duration = Duration::from_secs(10);
/// Times that a transaction is tried that the database broke off in favour of another.
const TRIES: u32 = 5;
/// Key of the advisory lock of [`Catalogue::lead`](super::Catalogue::lead).
const LEAD: i64 = 0x7061_7463_6877_6972;

/// [`Catalogue`](super::Catalogue) in one PostgreSQL database.
pub struct PostgresCatalogue {
    pub(super) pool: PgPool,
    options: PgConnectOptions,
}

/// Runs `$work` in a transaction `$tx`, again if it lost against another one.
macro_rules! transaction {
    ($self:ident, $tx:ident => $work:expr) => {{
        let mut tries = 1;
        loop {
            let result = async {
                let mut $tx = $self.pool.begin().await?;
                let done = $work.await?;
                $tx.commit().await?;
                Ok(done)
            };
            match result.await {
                Err(CatalogueError::Database(error)) if tries < TRIES && is_rivalry(&error) => {
                    tries += 1;
                }
                result => break result,
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
        migrator(&POSTGRES).run(&pool).await?;
        Ok(Self { pool, options })
    }

    /// Begins the decoding of a queued frame. `None` when it is not queued any more.
    pub(crate) async fn begin(&self, id: Uuid) -> Result<Option<Frame>, CatalogueError> {
        let row: Option<FrameRow> = sqlx::query_as(
            "UPDATE frames SET begun = begun + 1
             WHERE frame_id = $1 AND state = 'queued' RETURNING *",
        )
        .bind(id.as_bytes().as_slice())
        .fetch_optional(&self.pool)
        .await?;
        let frame = row.map(Frame::try_from).transpose()?;
        Ok(frame.map(Frame::under_way))
    }

    /// Writes down how a decoding ended that is to be tried again.
    pub(crate) async fn put_back(&self, id: Uuid, end: End) -> Result<(), CatalogueError> {
        let sql = match end {
            End::Failed => {
                "UPDATE frames SET attempts = attempts + 1, begun = 0, deaths = 0
                            WHERE frame_id = $1 AND state = 'queued'"
            }
            End::NotItsFault => {
                "UPDATE frames SET begun = 0, deaths = 0
                                 WHERE frame_id = $1 AND state = 'queued'"
            }
            End::NotBegun => {
                "UPDATE frames SET begun = greatest(begun - 1, 0)
                              WHERE frame_id = $1 AND state = 'queued'"
            }
        };
        sqlx::query(sql)
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
            "UPDATE frames SET offered_ms = CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)
             WHERE seq IN (
                 SELECT seq FROM frames WHERE state = 'queued' AND offered_ms < $1
                 ORDER BY offered_ms LIMIT $2 FOR UPDATE SKIP LOCKED)
             RETURNING *",
        )
        .bind(before_ms)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Frame::try_from).collect()
    }
}

/// Whether a transaction was broken off because of another one: a deadlock or a failed serialization.
fn is_rivalry(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("40P01" | "40001"))
}

read::catalogue! {
    PostgresCatalogue, Postgres, pool, pool,
    label: "label_scores::jsonb -> 0 ->> 'label' AS label,
        (label_scores::jsonb -> 0 ->> 'score')::DOUBLE PRECISION AS score",
    ahead: "((received_ms - captured_ms <= 60000 AND (NOT $2 OR seq < $1)) OR (received_ms - captured_ms > 60000 AND NOT $2 AND seq < $1))",
    program: "encode(program_id, 'hex')",
    index: "",

    async fn insert(&self, frames: Vec<NewFrame>) -> Result<Vec<Option<Frame>>, CatalogueError> {
        transaction!(self, tx => write::insert(&mut tx, &frames))
    }

    async fn decoded(
        &self,
        id: Uuid,
        quality: Quality,
        work: Work,
        bytes: u64,
    ) -> Result<Option<Frame>, CatalogueError> {
        transaction!(self, tx => write::decoded(&mut tx, id, quality, work, bytes))
    }

    async fn failed(&self, id: Uuid, reason: &str) -> Result<Option<Frame>, CatalogueError> {
        transaction!(self, tx => write::failed(&mut tx, id, reason))
    }

    async fn requeue(&self, id: Uuid, bytes: u64) -> Result<Option<Frame>, CatalogueError> {
        transaction!(self, tx => write::requeue(&mut tx, id, bytes))
    }

    async fn remove(&self, frames: &[Uuid]) -> Result<(), CatalogueError> {
        transaction!(self, tx => write::remove(&mut tx, frames))
    }

    async fn now_ms(&self) -> Result<i64, CatalogueError> {
        let (now,): (i64,) = sqlx::query_as(
            "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(now)
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
