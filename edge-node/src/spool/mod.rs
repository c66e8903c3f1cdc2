//! The durable queue of encoded frames, a SQLite file.
//!
//! # Invariants
//!
//! - A frame is in the spool, on disk, before [`Spool::push`] returns (`synchronous=FULL`).
//! - A frame leaves it when the cloud's ack is settled, or when it is dropped (full, expired,
//!   corrupt), which is counted and told by [`Spool::state`]; never otherwise.
//! - Frames are read in the order in which they were pushed.
//! - The file never grows beyond `max_bytes` (`max_page_count`); its write-ahead log comes on top
//!   and is cut back to [`WAL_BYTES`] at checkpoints.
//! - Every row carries a CRC-32C; a damaged one is quarantined when it is read, the rest goes on.
//! - History and quarantine are bounded ([`HISTORY_ROWS`], an eighth of `max_bytes`).
//!
//! # Operation
//!
//! One connection writes, so that writers queue in memory instead of polling a lock; others read.
//! Pushing leaves [`RESERVE_PAGES`] free for the history of what is settled meanwhile; should that
//! not do, a settled frame is deleted without a trace, which never needs room. A writing connection is
//! closed after any error: SQLite rolls back by itself when the disk is full, which the pool would not
//! notice. The spool belongs to one process, which holds a lock file beside it.

mod file;
mod read;
mod taken;
mod upkeep;
mod write;

use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use patchwire_proto::v1::EncodedFrame;
use serde::Serialize;
use sqlx::{
    Row as _, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::Notify;
use utoipa::ToSchema;

use crate::{
    config::{self, OnFull},
    metrics::Metrics,
};

pub use self::{
    file::{Kept, Shelf, SpoolFile},
    taken::{Stamp, Taken},
};

/// Frames whose fate is remembered after they left.
pub const HISTORY_ROWS: i64 = 4096;
/// Pages of 4 KiB that pushing leaves free.
pub const RESERVE_PAGES: u64 = 128;
/// What the write-ahead log is cut back to, in bytes.
pub const WAL_BYTES: u64 = 4 << 20;
const PAGE_BYTES: u64 = 4096;
const SQLITE_BUSY: u32 = 5;
const SQLITE_LOCKED: u32 = 6;
/// For a file at `max_page_count` or a disk without room.
const SQLITE_FULL: u32 = 13;

/// The queue. Dropping it loses nothing.
pub struct Spool {
    writer: SqlitePool,
    readers: SqlitePool,
    max_bytes: u64,
    on_full: OnFull,
    ttl: Option<Duration>,
    arrival: Notify,
    metrics: Metrics,
    /// Held, not read.
    _lock: File,
}

/// What waits for the cloud.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Backlog {
    /// Frames.
    pub frames: u64,
    /// Bytes of their messages.
    pub bytes: u64,
}

/// A frame and its place in the queue.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Grows with every push.
    pub seq: i64,
    /// The frame's message.
    pub frame: EncodedFrame,
}

/// What became of a frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum FrameState {
    /// On disk here, not yet acknowledged.
    Spooled,
    /// Acknowledged by the cloud.
    Delivered,
    /// Acknowledged by the cloud, which had it already.
    Duplicate,
    /// Refused by the cloud for good, kept in quarantine.
    Rejected {
        /// The cloud's sentence.
        reason: String,
    },
    /// Lost here.
    Dropped {
        /// Why.
        reason: String,
    },
}

/// Why a frame could not be stored, or the spool not be read.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// No room, and the policy is to reject.
    #[error("the spool is full, try again later")]
    Full,
    /// A frame that would not fit an empty spool.
    #[error("encoded frame of {bytes} bytes is larger than the spool of {max} bytes allows")]
    TooLarge {
        /// Bytes of the frame's message.
        bytes: usize,
        /// Bytes of the spool.
        max: u64,
    },
    /// Another process has it.
    #[error("the spool {0} is in use by another process")]
    InUse(String),
    /// The lock file beside it cannot be made or locked.
    #[error("the spool's lock {0} cannot be used: {1}")]
    Lock(String, io::Error),
    /// It is locked for longer than is waited for.
    #[error("the spool is busy or locked by another program, try again later")]
    Busy,
    /// The database failed.
    #[error("the spool cannot be used: {0}")]
    Database(sqlx::Error),
    /// The file is not a spool of this version.
    #[error("the spool cannot be opened: {0}")]
    Schema(sqlx::migrate::MigrateError),
}

// Written out, because a derived `From` would make the cause a source too and tell it twice.
impl From<sqlx::Error> for SpoolError {
    fn from(error: sqlx::Error) -> Self {
        match primary_code(&error) {
            Some(SQLITE_BUSY | SQLITE_LOCKED) => Self::Busy,
            // The only writing connection waits for the lock.
            _ if matches!(error, sqlx::Error::PoolTimedOut) => Self::Busy,
            _ => Self::Database(error),
        }
    }
}

/// SQLite's result code, without what it adds in the higher bits.
fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error()?.code()?;
    Some(code.parse::<u32>().ok()? & 0xff)
}

impl Spool {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// When the file cannot be opened, locked or migrated.
    pub async fn open(config: &config::Spool, metrics: Metrics) -> Result<Self, SpoolError> {
        let lock = lock(&config.path)?;
        let options = SqliteConnectOptions::new()
            .filename(&config.path)
            .create_if_missing(true)
            .page_size(PAGE_BYTES as u32)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5))
            .pragma("journal_size_limit", WAL_BYTES.to_string())
            .pragma(
                "max_page_count",
                (config.max_bytes / PAGE_BYTES).to_string(),
            );
        let pool = SqlitePoolOptions::new().acquire_timeout(Duration::from_secs(10));
        let writer = pool
            .clone()
            .max_connections(1)
            .connect_with(options.clone())
            .await?;
        sqlx::migrate!()
            .run(&writer)
            .await
            .map_err(SpoolError::Schema)?;
        let readers = pool.max_connections(2).connect_with(options).await?;
        let row = sqlx::query("SELECT COUNT(*), COALESCE(SUM(LENGTH(payload)), 0) FROM spool")
            .fetch_one(&readers)
            .await?;
        metrics.spool_frames.set(row.get(0));
        metrics.spool_bytes.set(row.get(1));
        Ok(Self {
            writer,
            readers,
            max_bytes: config.max_bytes,
            on_full: config.on_full,
            ttl: config.ttl_s.map(Duration::from_secs),
            arrival: Notify::new(),
            metrics,
            _lock: lock,
        })
    }

    /// What waits for the cloud.
    pub fn backlog(&self) -> Backlog {
        Backlog {
            frames: self.metrics.spool_frames.get().max(0) as u64,
            bytes: self.metrics.spool_bytes.get().max(0) as u64,
        }
    }

    /// Bytes that the file may take.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// How much of what pushing may fill the frames that wait take, 0 to about 1.
    pub fn fill(&self) -> f64 {
        let room = self.max_bytes.saturating_sub(RESERVE_PAGES * PAGE_BYTES);
        self.backlog().bytes as f64 / room.max(1) as f64
    }

    /// Returns once a frame was pushed since the last call returned. For one waiter.
    pub async fn arrival(&self) {
        self.arrival.notified().await;
    }

    /// Closes the file; waits for what is being written.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Locks the file beside the spool: two nodes on one spool would send each frame twice.
fn lock(spool: &Path) -> Result<File, SpoolError> {
    let mut path = spool.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let failed = |error| SpoolError::Lock(path.display().to_string(), error);
    let file = File::create(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SpoolError::InUse(spool.display().to_string())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}
