//! Changes of the queue: pushing frames, removing acknowledged ones.

use daemon::clock::now_ms;
use patchwire_proto::v1::EncodedFrame;
use prost::Message as _;
use sqlx::{Connection as _, Row as _, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    connections::close_failed,
    error::SpoolError,
    history::remember,
    layout::{PAGE_BYTES, RESERVE_PAGES},
    queue::Spool,
    state::FrameState,
    taken::{self, Taken},
};
use crate::{
    config::OnFull,
    metrics::{DropCause, SpoolCall},
};

/// Bytes of an overflow page that hold payload.
const OVERFLOW_BYTES: u64 = PAGE_BYTES - 4;
/// Pages that a row may need besides its overflow pages, when the trees of table and index split.
const ROW_PAGES: u64 = 8;

/// Number and bytes of frames that left the spool.
#[derive(Default)]
pub(super) struct Removed {
    pub(super) frames: i64,
    pub(super) bytes: i64,
}

impl Spool {
    /// Stores a frame. The frame is on disk when this returns.
    ///
    /// # Errors
    /// [`SpoolError::Full`], [`SpoolError::TooLarge`], or a failed database; nothing is stored.
    pub async fn push(&self, frame: &EncodedFrame) -> Result<(), SpoolError> {
        self.push_taken(frame, None).await
    }

    /// Like [`push`](Self::push), and notes the file that the frame was, in the same transaction.
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
        self.note_damage(calls.time(SpoolCall::Push, pushing).await)
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
        let dropped = close_failed(connection, result).await?;
        if dropped.frames > 0 {
            tracing::warn!(
                frames = dropped.frames,
                "spool full, dropped the oldest frames"
            );
            self.metrics
                .count_dropped(DropCause::Full, dropped.frames as u64);
        }
        self.count(Removed {
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
    ) -> Result<Removed, SpoolError> {
        let needed = payload.len() as u64 / OVERFLOW_BYTES + ROW_PAGES + RESERVE_PAGES;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let mut dropped = Removed::default();
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

    /// Removes frames that the cloud acknowledged, in one transaction, and remembers their states. A rejected frame
    /// goes to quarantine. For a frame that is not in the spool any more, only the state is updated.
    ///
    /// # Errors
    /// When the database fails; the frames stay.
    pub async fn acknowledge(&self, frames: &[(Uuid, FrameState)]) -> Result<(), SpoolError> {
        let acknowledging = self.acknowledge_now(frames);
        self.note_damage(
            self.metrics
                .spool
                .time(SpoolCall::Settle, acknowledging)
                .await,
        )
    }

    async fn acknowledge_now(&self, frames: &[(Uuid, FrameState)]) -> Result<(), SpoolError> {
        let mut connection = self.writer.acquire().await?;
        let result = self.remove(&mut connection, frames, History::Written).await;
        let gone = match close_failed(connection, result).await {
            Err(SpoolError::Full) => {
                let count = frames.len();
                tracing::warn!(
                    frames = count,
                    "spool full, removed acknowledged frames without history"
                );
                let mut connection = self.writer.acquire().await?;
                let result = self.remove(&mut connection, frames, History::Skipped).await;
                close_failed(connection, result).await?
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
        history: History,
    ) -> Result<Removal, SpoolError> {
        let sql = "DELETE FROM spool WHERE frame_id = ? \
                   RETURNING frame_id, LENGTH(payload), created_ms, IIF(?, payload, NULL)";
        let mut removed = Removal::default();
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
            if history == History::Written {
                if let Some((row, reason)) = row.as_ref().zip(rejection) {
                    self.quarantine(&mut transaction, row, reason).await?;
                }
                remember(&mut transaction, id, state).await?;
            }
        }
        transaction.commit().await?;
        Ok(removed)
    }

    /// Checks that the file can be written.
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
        self.note_damage(close_failed(connection, result).await)?;
        Ok(())
    }

    /// Pages that can still be used.
    async fn free_pages(&self, connection: &mut SqliteConnection) -> Result<u64, SpoolError> {
        let sql = "SELECT page_count, freelist_count FROM pragma_page_count, pragma_freelist_count";
        let row = sqlx::query(sql).fetch_one(connection).await?;
        let used = row.get::<i64, _>(0) - row.get::<i64, _>(1);
        Ok((self.max_bytes / PAGE_BYTES).saturating_sub(used as u64))
    }

    pub(super) fn count(&self, gone: Removed) {
        self.metrics.spool_frames.dec_by(gone.frames);
        self.metrics.spool_bytes.dec_by(gone.bytes);
    }
}

impl Removed {
    /// Counts a deleted row of frame id and length.
    pub(super) fn add(&mut self, row: &SqliteRow) {
        self.frames += 1;
        self.bytes += row.get::<i64, _>(1);
    }

    pub(super) fn add_all(&mut self, rows: &[SqliteRow]) {
        rows.iter().for_each(|row| self.add(row));
    }
}

/// Whether removed frames leave a row in history or quarantine, which needs room.
#[derive(Clone, Copy, PartialEq, Eq)]
enum History {
    Written,
    Skipped,
}

/// Removed frames, and how many of them the cloud rejected.
#[derive(Default)]
struct Removal {
    all: Removed,
    rejected: u64,
}
