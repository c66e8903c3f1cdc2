//! Expired, damaged and rejected frames.

use sqlx::{Connection as _, Row as _, SqliteConnection, sqlite::SqliteRow};

use daemon::clock::now_ms;

use super::{
    connections::close_failed,
    error::SpoolError,
    history::{clipped, remember},
    queue::Spool,
    state::FrameState,
    write::Removed,
};
use crate::metrics::DropCause;

/// The quarantine may take one part in this many of the file.
const QUARANTINE_SHARE: u64 = 8;

impl Spool {
    /// Drops frames older than the time to live, if there is one.
    ///
    /// # Errors
    /// When the database fails; nothing is dropped.
    pub async fn expire(&self) -> Result<(), SpoolError> {
        let Some(ttl) = self.ttl else { return Ok(()) };
        let before = now_ms() - ttl.as_millis() as i64;
        let reason = "it was older than the spool's time to live";
        let frames = self.drop_older(before, reason).await?;
        if frames > 0 {
            tracing::warn!(frames, "dropped frames beyond their time to live");
            self.metrics.count_dropped(DropCause::Expired, frames);
        }
        Ok(())
    }

    /// Drops frames that are older than a time in milliseconds since the Unix epoch, and remembers the reason. Returns
    /// their number.
    ///
    /// # Errors
    /// When the database fails; nothing is dropped.
    pub async fn drop_older(&self, before_ms: i64, reason: &str) -> Result<u64, SpoolError> {
        let mut connection = self.writer.acquire().await?;
        let result = drop_older(&mut connection, before_ms, reason).await;
        let gone = close_failed(connection, result).await?;
        let frames = gone.frames as u64;
        self.count(gone);
        Ok(frames)
    }

    /// Empties the quarantine. Returns the number of its frames.
    ///
    /// # Errors
    /// When the database fails; nothing is dropped.
    pub async fn drop_quarantine(&self) -> Result<u64, SpoolError> {
        let mut connection = self.writer.acquire().await?;
        let result = sqlx::query("DELETE FROM quarantine")
            .execute(&mut *connection)
            .await
            .map_err(SpoolError::from);
        Ok(close_failed(connection, result).await?.rows_affected())
    }

    /// Moves a row that fails its checksum to quarantine.
    pub(super) async fn quarantine_damaged(&self, seq: i64) -> Result<(), SpoolError> {
        tracing::error!(seq, "a frame in the spool is damaged, quarantined it");
        let mut connection = self.writer.acquire().await?;
        let result = self.remove_damaged(&mut connection, seq).await;
        let gone = close_failed(connection, result).await?;
        self.metrics
            .count_dropped(DropCause::Corrupt, gone.frames as u64);
        self.count(gone);
        Ok(())
    }

    async fn remove_damaged(
        &self,
        connection: &mut SqliteConnection,
        seq: i64,
    ) -> Result<Removed, SpoolError> {
        let reason = "its row in the spool failed the checksum";
        let sql = "DELETE FROM spool WHERE seq = ? \
                   RETURNING frame_id, LENGTH(payload), created_ms, payload";
        let mut gone = Removed::default();
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let row = sqlx::query(sql)
            .bind(seq)
            .fetch_optional(&mut *transaction)
            .await?;
        if let Some(row) = row {
            gone.add(&row);
            self.quarantine(&mut transaction, &row, reason).await?;
            let state = FrameState::Dropped {
                reason: reason.into(),
            };
            remember(&mut transaction, row.get(0), &state).await?;
        }
        transaction.commit().await?;
        Ok(gone)
    }

    /// Stores a deleted row (frame id, length, creation time, payload) in quarantine. The oldest rows beyond the
    /// quarantine's share of the file are deleted.
    pub(super) async fn quarantine(
        &self,
        connection: &mut SqliteConnection,
        row: &SqliteRow,
        reason: &str,
    ) -> Result<(), SpoolError> {
        let sql =
            "INSERT INTO quarantine (frame_id, created_ms, reason, payload) VALUES (?, ?, ?, ?)";
        sqlx::query(sql)
            .bind(row.get::<&[u8], _>(0))
            .bind(row.get::<i64, _>(2))
            .bind(clipped(reason))
            .bind(row.get::<&[u8], _>(3))
            .execute(&mut *connection)
            .await?;
        let sql = "DELETE FROM quarantine WHERE seq <= (SELECT MAX(seq) FROM (SELECT seq, \
                   SUM(LENGTH(payload) + LENGTH(reason) + 64) OVER (ORDER BY seq DESC) AS total FROM quarantine) \
                   WHERE total > ?)";
        let most = (self.max_bytes / QUARANTINE_SHARE) as i64;
        sqlx::query(sql).bind(most).execute(connection).await?;
        Ok(())
    }
}

async fn drop_older(
    connection: &mut SqliteConnection,
    before: i64,
    reason: &str,
) -> Result<Removed, SpoolError> {
    let mut gone = Removed::default();
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let sql = "DELETE FROM spool WHERE created_ms < ? RETURNING frame_id, LENGTH(payload)";
    let rows = sqlx::query(sql)
        .bind(before)
        .fetch_all(&mut *transaction)
        .await?;
    gone.add_all(&rows);
    let state = FrameState::Dropped {
        reason: reason.into(),
    };
    for row in &rows {
        remember(&mut transaction, row.get(0), &state).await?;
    }
    transaction.commit().await?;
    Ok(gone)
}
