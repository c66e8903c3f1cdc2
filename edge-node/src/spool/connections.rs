//! Connections to the file. One connection writes, so that writers queue in memory instead of polling a lock.

use std::time::Duration;

use sqlx::{
    Sqlite, SqlitePool,
    migrate::MigrateError,
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{
    error::{SpoolError, is_full},
    layout::{PAGE_BYTES, WAL_BYTES},
    migrations::migrator,
};
use crate::config;

/// How the file is opened: durable writes, and never more than `max_bytes`.
pub(super) fn options(config: &config::Spool) -> SqliteConnectOptions {
    let max_pages = config.max_bytes / PAGE_BYTES;
    SqliteConnectOptions::new()
        .filename(&config.path)
        .create_if_missing(true)
        .page_size(PAGE_BYTES as u32)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5))
        .pragma("journal_size_limit", WAL_BYTES.to_string())
        .pragma("max_page_count", max_pages.to_string())
}

/// Connections to the file.
pub(super) struct Connections {
    pub(super) writer: SqlitePool,
    pub(super) readers: SqlitePool,
    /// Frames in the queue, and their bytes.
    pub(super) waiting: (i64, i64),
}

impl Connections {
    pub(super) async fn close(self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    pub(super) async fn open(options: &SqliteConnectOptions) -> Result<Self, SpoolError> {
        let pool = SqlitePoolOptions::new().acquire_timeout(Duration::from_secs(10));
        let writer = pool
            .clone()
            .max_connections(1)
            .connect_with(options.clone())
            .await?;
        let migrated = migrator().run(&writer).await;
        migrated.map_err(|error| match error {
            MigrateError::Execute(error) => error.into(),
            // No version has changed the migrations of an earlier one.
            MigrateError::VersionMismatch(_) | MigrateError::Dirty(_) => {
                SpoolError::Damaged(sqlx::Error::Protocol(error.to_string()))
            }
            error => SpoolError::Schema(error),
        })?;
        let readers = pool
            .max_connections(2)
            .connect_with(options.clone())
            .await?;
        let waiting =
            sqlx::query_as("SELECT COUNT(*), COALESCE(SUM(LENGTH(payload)), 0) FROM spool")
                .fetch_one(&readers)
                .await?;
        Ok(Self {
            writer,
            readers,
            waiting,
        })
    }
}

/// Closes a connection after an error, and gives a full file its own error. SQLite rolls back by itself when the disk
/// is full, which the pool would not notice.
pub(super) async fn close_failed<T>(
    connection: PoolConnection<Sqlite>,
    result: Result<T, SpoolError>,
) -> Result<T, SpoolError> {
    let error = match result {
        Err(error @ (SpoolError::Database(_) | SpoolError::Busy)) => error,
        result => return result,
    };
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "closing the spool's connection failed");
    }
    Err(match error {
        SpoolError::Database(error) if is_full(&error) => SpoolError::Full,
        error => error,
    })
}
