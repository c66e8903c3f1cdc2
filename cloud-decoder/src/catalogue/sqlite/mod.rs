//! The catalogue in SQLite: WAL, `synchronous = FULL`, one writing connection and a few readers.

#[cfg(test)]
mod tests;
mod write;

use std::{
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use sqlx::{
    Connection as _, Sqlite, SqlitePool,
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use uuid::Uuid;

use super::{
    Camera, CatalogueError, End, History, Kept, LatentSample, Lead, Metric, Page, Place,
    RECENT_FRAMES, Seen, Series, Span, StoreId, Totals, history,
    migrations::{SQLITE, migrator},
    read,
    row::{CameraRow, FrameRow, SeenRow, frame_id},
    series_query,
    sums::saturate,
};
use crate::{
    clock::{now_ms, steady_ms},
    frame::{Frame, FrameState, NewFrame, Quality, Work},
};

/// How long a claim holds, in milliseconds: longer than any frame takes to decode.
const CLAIM_MS: i64 = 15 * 60 * 1000;
const READERS: u32 = 4;
/// Each so many claims, one is of the oldest frame.
const OLDEST_EVERY: u32 = 4;
/// Live frames came within a minute of their capture; the condition is that of an index.
const CLAIM_NEWEST_LIVE: &str = "
    UPDATE frames SET begun = begun + 1, not_before_ms = $1 + $2
    WHERE seq = (SELECT seq FROM frames INDEXED BY frames_live
                 WHERE state = 'queued' AND received_ms - captured_ms <= 60000 AND not_before_ms <= $1
                 ORDER BY seq DESC LIMIT 1)
    RETURNING *";
const CLAIM_OLDEST: &str = "
    UPDATE frames SET begun = begun + 1, not_before_ms = $1 + $2
    WHERE seq = (SELECT seq FROM frames
                 WHERE state = 'queued' AND not_before_ms <= $1 ORDER BY seq LIMIT 1)
    RETURNING *";

/// [`Catalogue`](super::Catalogue) in one SQLite file, owned by one process.
pub struct SqliteCatalogue {
    // SQLite takes one writer at a time; queueing for it here never meets SQLITE_BUSY.
    pub(super) writer: SqlitePool,
    pub(super) readers: SqlitePool,
    /// Made so far.
    claims: AtomicU32,
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
        migrator(&SQLITE).run(&writer).await?;
        sqlx::query("UPDATE frames SET not_before_ms = 0 WHERE state = 'queued'")
            .execute(&writer)
            .await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.read_only(true))
            .await?;
        Ok(Self {
            writer,
            readers,
            claims: AtomicU32::new(0),
        })
    }
}

/// Runs `$work` in a transaction `$tx` on the one writing connection.
macro_rules! transaction {
    ($self:ident, $tx:ident => $work:expr) => {{
        let mut connection = $self.writer.acquire().await?;
        let result = async {
            let mut $tx = connection.begin_with("BEGIN IMMEDIATE").await?;
            let done = $work.await?;
            $tx.commit().await?;
            Ok(done)
        };
        let result = result.await;
        settled(connection, result).await
    }};
}

/// Closes a connection whose transaction failed: SQLite rolls back by itself when the disk is full, which the
/// pool would not notice, and no later transaction could begin on it.
async fn settled<T>(
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

read::catalogue! {
    SqliteCatalogue, Sqlite, readers, writer,
    label: "label_scores ->> '$[0].label' AS label,
        CAST(label_scores ->> '$[0].score' AS REAL) AS score",
    ahead: "((received_ms - captured_ms <= 60000 AND (NOT $2 OR seq > $1)) OR (received_ms - captured_ms > 60000 AND NOT $2 AND seq < $1))",
    program: "lower(hex(program_id))",
    index: " INDEXED BY frames_history",

    async fn insert(&self, frames: Vec<NewFrame>) -> Result<Vec<Option<Frame>>, CatalogueError> {
        transaction!(self, tx => write::insert(&mut tx, frames))
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
        // Of the only process that there is.
        Ok(now_ms())
    }

    async fn lead(&self) -> Result<Option<Lead>, CatalogueError> {
        Ok(Some(Lead::alone()))
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// The queue, which is the rows in state `queued`.
impl SqliteCatalogue {
    /// Takes a queued frame, which counts as begun: the newest live one, and without any the oldest; each fourth time the oldest
    /// of all, so that none waits for ever. The claim lapses after [`CLAIM_MS`], so that the frame of a worker that died is taken
    /// again.
    pub(crate) async fn claim(&self) -> Result<Option<Frame>, CatalogueError> {
        let now = steady_ms();
        let claims = self.claims.fetch_add(1, Ordering::Relaxed);
        let order: &[&'static str] = match claims.wrapping_add(1) % OLDEST_EVERY {
            0 => &[CLAIM_OLDEST],
            _ => &[CLAIM_NEWEST_LIVE, CLAIM_OLDEST],
        };
        for &claim in order {
            let row = sqlx::query_as(claim).bind(now).bind(CLAIM_MS);
            let row: Option<FrameRow> = row.fetch_optional(&self.writer).await?;
            if let Some(row) = row {
                return Frame::try_from(row).map(|frame| Some(frame.under_way()));
            }
        }
        Ok(None)
    }

    /// Gives a claimed frame back, to be claimed again after `delay_ms`.
    pub(crate) async fn put_back(
        &self,
        id: Uuid,
        delay_ms: i64,
        end: End,
    ) -> Result<(), CatalogueError> {
        let sql = match end {
            End::Failed => "UPDATE frames SET not_before_ms = $1, attempts = attempts + 1, begun = 0, deaths = 0
                            WHERE frame_id = $2 AND state = 'queued'",
            End::NotItsFault => "UPDATE frames SET not_before_ms = $1, begun = 0, deaths = 0
                                 WHERE frame_id = $2 AND state = 'queued'",
            End::NotBegun => "UPDATE frames SET not_before_ms = $1, begun = max(begun - 1, 0)
                              WHERE frame_id = $2 AND state = 'queued'",
        };
        sqlx::query(sql)
            .bind(steady_ms() + delay_ms)
            .bind(id.as_bytes().as_slice())
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}
