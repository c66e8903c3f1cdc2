//! What changes the spool.

use daemon::clock::now_ms;
use patchwire_proto::v1::EncodedFrame;
use prost::Message as _;
use sqlx::{
    Connection as _, Row as _, Sqlite, SqliteConnection, pool::PoolConnection, sqlite::SqliteRow,
};
use uuid::Uuid;

use super::{
    FrameState, HISTORY_ROWS, PAGE_BYTES, RESERVE_PAGES, SQLITE_FULL, Spool, SpoolError, Taken,
    primary_code, taken,
};
use crate::{
    config::OnFull,
    metrics::{DropCause, SpoolCall},
};

/// Bytes of an overflow page that hold payload.
const OVERFLOW_BYTES: u64 = PAGE_BYTES - 4;
/// Pages that a row may need besides its overflow pages: splits of the table's and index's tree.
const ROW_PAGES: u64 = 8;
/// Longest reason kept, in characters.
const REASON_CHARS: usize = 512;

/// Frames and bytes that left the spool.
#[derive(Default)]
pub(super) struct Gone {
    pub(super) frames: i64,
    pub(super) bytes: i64,
}

impl Spool {
    /// Stores a frame; it is on disk when this returns.
    ///
    /// # Errors
    /// [`SpoolError::Full`], [`SpoolError::TooLarge`], or a failed database; nothing is stored.
    pub async fn push(&self, frame: &EncodedFrame) -> Result<(), SpoolError> {
        self.push_taken(frame, None).await
    }

    /// The same, and notes the file that the frame was, both or neither.
    ///
    /// # Errors
    /// Those of [`push`](Self::push).
    pub async fn push_taken(
        &self,
        frame: &EncodedFrame,
        taken: Option<&Taken>,
    ) -> Result<(), SpoolError> {
        let calls = &self.metrics.spool;
        let pushing = self.push_now(frame, taken);
        self.noting(calls.time(SpoolCall::Push, pushing).await)
    }

    async fn push_now(
        &self,
        frame: &EncodedFrame,
        taken: Option<&Taken>,
    ) -> Result<(), SpoolError> {
        let payload = frame.encode_to_vec();
        let bytes = payload.len();
        if bytes as u64 > self.max_bytes / 2 {
            return Err(SpoolError::TooLarge {
                bytes,
                max: self.max_bytes,
            });
        }
        let mut connection = self.writer.acquire().await?;
        let result = self.insert(&mut connection, frame, payload, taken).await;
        let dropped = settled(connection, result).await?;
        if dropped.frames > 0 {
            tracing::warn!(
                frames = dropped.frames,
                "spool full, dropped the oldest frames"
            );
            self.metrics
                .count_dropped(DropCause::Full, dropped.frames as u64);
        }
        self.count(Gone {
            frames: dropped.frames - 1,
            bytes: dropped.bytes - bytes as i64,
        });
        self.arrival.notify_one();
        Ok(())
    }

    async fn insert(
        &self,
        connection: &mut SqliteConnection,
        frame: &EncodedFrame,
        payload: Vec<u8>,
        taken: Option<&Taken>,
    ) -> Result<Gone, SpoolError> {
        let needed = payload.len() as u64 / OVERFLOW_BYTES + ROW_PAGES + RESERVE_PAGES;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let mut dropped = Gone::default();
        while self.free_pages(&mut transaction).await? < needed {
            let oldest = match self.on_full {
                OnFull::RejectNew => None,
                OnFull::DropOldest => {
                    let sql = "DELETE FROM spool WHERE seq = (SELECT MIN(seq) FROM spool) \
                               RETURNING frame_id, LENGTH(payload)";
                    sqlx::query(sql).fetch_optional(&mut *transaction).await?
                }
            };
            let row = oldest.ok_or(SpoolError::Full)?;
            dropped.add(&row);
            let state = FrameState::Dropped {
                reason: "the spool was full".into(),
            };
            remember(&mut transaction, row.get(0), &state).await?;
        }
        sqlx::query(
            "INSERT INTO spool (frame_id, created_ms, crc32c, payload) VALUES (?, ?, ?, ?)",
        )
        .bind(&frame.frame_id[..])
        .bind(frame.captured_unix_ms)
        .bind(i64::from(crc32c::crc32c(&payload)))
        .bind(payload)
        .execute(&mut *transaction)
        .await?;
        if let Some(taken) = taken {
            taken::note(&mut transaction, taken).await?;
        }
        transaction.commit().await?;
        Ok(dropped)
    }

    /// Removes frames that the cloud acknowledged, in one transaction, and remembers their states; a rejected one
    /// goes to quarantine. A frame that is not there any more only has its state updated.
    ///
    /// # Errors
    /// When the database fails; the frames stay.
    pub async fn settle(&self, frames: &[(Uuid, FrameState)]) -> Result<(), SpoolError> {
        let settling = self.settle_now(frames);
        self.noting(self.metrics.spool.time(SpoolCall::Settle, settling).await)
    }

    async fn settle_now(&self, frames: &[(Uuid, FrameState)]) -> Result<(), SpoolError> {
        let mut connection = self.writer.acquire().await?;
        let result = self.remove(&mut connection, frames, Trace::Kept).await;
        let gone = match settled(connection, result).await {
            Err(SpoolError::Full) => {
                let count = frames.len();
                tracing::warn!(frames = count, "spool full, settled frames without a trace");
                let mut connection = self.writer.acquire().await?;
                let result = self.remove(&mut connection, frames, Trace::None).await;
                settled(connection, result).await?
            }
            other => other?,
        };
        if gone.rejected > 0 {
            self.metrics
                .count_dropped(DropCause::Rejected, gone.rejected);
        }
        self.count(gone.all);
        Ok(())
    }

    async fn remove(
        &self,
        connection: &mut SqliteConnection,
        frames: &[(Uuid, FrameState)],
        trace: Trace,
    ) -> Result<Removed, SpoolError> {
        let sql = "DELETE FROM spool WHERE frame_id = ? \
                   RETURNING frame_id, LENGTH(payload), created_ms, IIF(?, payload, NULL)";
        let mut removed = Removed::default();
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        for (id, state) in frames {
            let id = &id.as_bytes()[..];
            let rejection = match state {
                FrameState::Rejected { reason } => Some(reason),
                _ => None,
            };
            let row = sqlx::query(sql)
                .bind(id)
                .bind(rejection.is_some())
                .fetch_optional(&mut *transaction)
                .await?;
            if let Some(row) = &row {
                removed.all.add(row);
                removed.rejected += u64::from(rejection.is_some());
            }
            if trace == Trace::Kept {
                if let Some((row, reason)) = row.as_ref().zip(rejection) {
                    self.quarantine(&mut transaction, row, reason).await?;
                }
                remember(&mut transaction, id, state).await?;
            }
        }
        transaction.commit().await?;
        Ok(removed)
    }

    /// Writes to the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn probe(&self) -> Result<(), SpoolError> {
        let mut connection = self.writer.acquire().await?;
        let query = sqlx::query("UPDATE probe SET at_ms = ?").bind(now_ms());
        let result = query
            .execute(&mut *connection)
            .await
            .map_err(SpoolError::from);
        self.noting(settled(connection, result).await)?;
        Ok(())
    }

    /// Pages that can still be filled.
    async fn free_pages(&self, connection: &mut SqliteConnection) -> Result<u64, SpoolError> {
        let sql = "SELECT page_count, freelist_count FROM pragma_page_count, pragma_freelist_count";
        let row = sqlx::query(sql).fetch_one(connection).await?;
        let used = row.get::<i64, _>(0) - row.get::<i64, _>(1);
        Ok((self.max_bytes / PAGE_BYTES).saturating_sub(used as u64))
    }

    pub(super) fn count(&self, gone: Gone) {
        self.metrics.spool_frames.dec_by(gone.frames);
        self.metrics.spool_bytes.dec_by(gone.bytes);
    }
}

impl Gone {
    /// Counts a deleted row of frame id and length.
    pub(super) fn add(&mut self, row: &SqliteRow) {
        self.frames += 1;
        self.bytes += row.get::<i64, _>(1);
    }

    pub(super) fn add_all(&mut self, rows: &[SqliteRow]) {
        rows.iter().for_each(|row| self.add(row));
    }
}

/// Whether what is removed leaves a row in the history or in quarantine, which needs room.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trace {
    Kept,
    None,
}

/// What left, and how much of it the cloud did not want.
#[derive(Default)]
struct Removed {
    all: Gone,
    rejected: u64,
}

/// Writes a frame's state to the history and forgets the oldest beyond [`HISTORY_ROWS`].
pub(super) async fn remember(
    connection: &mut SqliteConnection,
    frame_id: &[u8],
    state: &FrameState,
) -> Result<(), SpoolError> {
    let (name, reason) = match state {
        FrameState::Spooled => return Ok(()),
        FrameState::Delivered => ("delivered", None),
        FrameState::Duplicate => ("duplicate", None),
        FrameState::Rejected { reason } => ("rejected", Some(clipped(reason))),
        FrameState::Dropped { reason } => ("dropped", Some(clipped(reason))),
    };
    sqlx::query("INSERT OR REPLACE INTO history (frame_id, state, reason) VALUES (?, ?, ?)")
        .bind(frame_id)
        .bind(name)
        .bind(reason)
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM history WHERE seq <= (SELECT MAX(seq) FROM history) - ?")
        .bind(HISTORY_ROWS)
        .execute(connection)
        .await?;
    Ok(())
}

/// Closes a connection whose transaction failed, and tells a full file from other failures.
pub(super) async fn settled<T>(
    connection: PoolConnection<Sqlite>,
    result: Result<T, SpoolError>,
) -> Result<T, SpoolError> {
    let error = match result {
        Err(error @ (SpoolError::Database(_) | SpoolError::Busy)) => error,
        settled => return settled,
    };
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "closing the spool's connection failed");
    }
    Err(match error {
        SpoolError::Database(error) if primary_code(&error) == Some(SQLITE_FULL) => {
            SpoolError::Full
        }
        error => error,
    })
}

pub(super) fn clipped(reason: &str) -> String {
    reason.chars().take(REASON_CHARS).collect()
}
