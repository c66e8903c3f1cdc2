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
//! - A file that SQLite finds damaged is set aside at the next start, and what can be read of it goes into a new one.
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
mod first_page;
mod read;
mod salvage;
mod taken;
mod upkeep;
mod write;

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;
use sqlx::{
    SqlitePool,
    migrate::MigrateError,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::{
    config::{self, OnFull},
    metrics::{DropCause, Metrics},
};

pub use self::{
    file::{Kept, Shelf, SpoolFile},
    salvage::Salvage,
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
    /// Cancelled once SQLite meets damage.
    damage: CancellationToken,
    salvage: Option<Salvage>,
    /// Held for as long as the spool is used; empty once it was closed and is whole.
    lock: File,
}

/// What waits for the cloud.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Backlog {
    /// Frames.
    pub frames: u64,
    /// Bytes of their messages.
    pub bytes: u64,
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
    /// The file is damaged.
    #[error("the spool's file is damaged, the node's next start saves what can be read of it: {0}")]
    Damaged(sqlx::Error),
    /// The damaged file cannot be moved aside.
    #[error("the spool's damaged file cannot be set aside: {0}")]
    Aside(io::Error),
    /// The database failed.
    #[error("the spool cannot be used: {0}")]
    Database(sqlx::Error),
    /// The file is not a spool of this version.
    #[error("the spool cannot be opened: {0}")]
    Schema(MigrateError),
}

// Written out, because a derived `From` would make the cause a source too and tell it twice.
impl From<sqlx::Error> for SpoolError {
    fn from(error: sqlx::Error) -> Self {
        match primary_code(&error) {
            Some(SQLITE_BUSY | SQLITE_LOCKED) => Self::Busy,
            _ if salvage::is_damage(&error) => Self::Damaged(error),
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
    /// Opens the file, or makes it. One that is damaged is set aside, and what can be read of it saved.
    ///
    /// # Errors
    /// When the file cannot be opened, locked or migrated.
    pub async fn open(config: &config::Spool, metrics: Metrics) -> Result<Self, SpoolError> {
        let mut lock = lock(&config.path)?;
        let unclean = salvage::mark_used(&mut lock);
        let unclean =
            unclean.map_err(|error| SpoolError::Lock(config.path.display().to_string(), error))?;
        salvage::finish(&config.path).map_err(SpoolError::Aside)?;
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
        let there = config.path.exists();
        let whole = match first_page::has_header(&config.path) {
            Ok(has) => has && (!there || salvage::is_whole(&options, unclean).await?),
            Err(error) => return Err(sqlx::Error::Io(error).into()),
        };
        let opened = match whole {
            true => Pools::open(&options).await,
            false => Err(SpoolError::Damaged(sqlx::Error::RowNotFound)),
        };
        let (pools, salvage) = match opened {
            Err(SpoolError::Damaged(_)) => {
                let saved = save(&config.path, &options).await?;
                (Pools::open(&options).await?, Some(saved))
            }
            pools => (pools?, None),
        };
        if let Some(saved) = &salvage {
            tracing::error!(
                aside = %saved.aside.display(), frames = saved.frames, quarantined = saved.quarantined, lost = saved.lost,
                "the spool's file was damaged: it is set aside, and what can be read of it is in a new one"
            );
            metrics.count_dropped(DropCause::Corrupt, saved.lost);
        }
        metrics.spool_frames.set(pools.waiting.0);
        metrics.spool_bytes.set(pools.waiting.1);
        Ok(Self {
            writer: pools.writer,
            readers: pools.readers,
            max_bytes: config.max_bytes,
            on_full: config.on_full,
            ttl: config.ttl_s.map(Duration::from_secs),
            arrival: Notify::new(),
            metrics,
            damage: CancellationToken::new(),
            salvage,
            lock,
        })
    }

    /// What was saved of a damaged file when the spool was opened; `None` when it was whole.
    pub fn salvage(&self) -> Option<&Salvage> {
        self.salvage.as_ref()
    }

    /// Returns once SQLite has met damage in the file.
    pub async fn damaged(&self) {
        self.damage.cancelled().await;
    }

    /// Whether SQLite has met damage in the file.
    pub fn is_damaged(&self) -> bool {
        self.damage.is_cancelled()
    }

    /// Takes note of damage that an operation met.
    fn noting<T>(&self, result: Result<T, SpoolError>) -> Result<T, SpoolError> {
        if matches!(result, Err(SpoolError::Damaged(_))) {
            self.damage.cancel();
        }
        result
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
        // Otherwise the next start looks for damage, which only takes longer.
        if !self.damage.is_cancelled()
            && let Err(error) = salvage::mark_clean(&self.lock)
        {
            tracing::warn!(%error, "the spool cannot be marked as closed");
        }
    }
}

/// Sets a damaged file aside, and puts a new one with what can be read of it into its place.
async fn save(path: &Path, options: &SqliteConnectOptions) -> Result<Salvage, SpoolError> {
    let fresh = salvage::fresh(path).map_err(SpoolError::Aside)?;
    // It is gathered from the start if this is cut short, so it needs no log beside it; and it has room for all that was there.
    let options = options
        .clone()
        .filename(&fresh)
        .journal_mode(SqliteJournalMode::Truncate)
        .pragma("max_page_count", u32::MAX.to_string());
    let pools = Pools::open(&options).await?;
    let mended = salvage::mend_first_page(path, &fresh).await;
    mended.map_err(SpoolError::Aside)?;
    let mut connection = pools.writer.acquire().await?;
    let saved = salvage::copy(path, &mut connection).await?;
    drop(connection);
    pools.close().await;
    let aside = salvage::replace(path).map_err(SpoolError::Aside)?;
    Ok(Salvage { aside, ..saved })
}

/// Connections to the file.
struct Pools {
    writer: SqlitePool,
    readers: SqlitePool,
    /// Frames in it, and their bytes.
    waiting: (i64, i64),
}

impl Pools {
    async fn close(self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    async fn open(options: &SqliteConnectOptions) -> Result<Self, SpoolError> {
        let pool = SqlitePoolOptions::new().acquire_timeout(Duration::from_secs(10));
        let writer = pool
            .clone()
            .max_connections(1)
            .connect_with(options.clone())
            .await?;
        let migrated = sqlx::migrate!().run(&writer).await;
        migrated.map_err(|error| match error {
            MigrateError::Execute(error) => error.into(),
            // No version has changed what an earlier one did.
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

/// Locks the file beside the spool: two nodes on one spool would send each frame twice.
fn lock(spool: &Path) -> Result<File, SpoolError> {
    let mut path = spool.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let failed = |error| SpoolError::Lock(path.display().to_string(), error);
    // Not truncated: another node may have it.
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SpoolError::InUse(spool.display().to_string())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}
