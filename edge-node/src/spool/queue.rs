//! The queue: opening and closing its file, and its totals.

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    aside,
    connections::{self, Connections},
    damage,
    error::SpoolError,
    first_page,
    layout::{PAGE_BYTES, RESERVE_PAGES},
    lock_file,
    salvage::{self, Salvage},
    state::Backlog,
};
use crate::{
    config::{self, OnFull},
    metrics::{DropCause, Metrics},
};

/// The queue. Dropping it loses nothing.
pub struct Spool {
    pub(super) writer: SqlitePool,
    pub(super) readers: SqlitePool,
    pub(super) max_bytes: u64,
    pub(super) on_full: OnFull,
    pub(super) ttl: Option<Duration>,
    pub(super) arrival: Notify,
    pub(super) metrics: Metrics,
    /// Cancelled once SQLite finds damage.
    damage: CancellationToken,
    salvage: Option<Salvage>,
    /// Locked while the spool is in use. Its contents tell whether the spool was closed properly.
    lock: File,
}

impl Spool {
    /// Opens the file, or makes it. A damaged file is set aside, and its readable frames are saved into a new one.
    ///
    /// # Errors
    /// When the file cannot be opened, locked or migrated.
    pub async fn open(config: &config::Spool, metrics: Metrics) -> Result<Self, SpoolError> {
        let mut lock = lock(&config.path)?;
        let unclean = lock_file::mark_used(&mut lock);
        let unclean =
            unclean.map_err(|error| SpoolError::Lock(config.path.display().to_string(), error))?;
        aside::finish(&config.path).map_err(SpoolError::Aside)?;
        let options = connections::options(config);
        let there = config.path.exists();
        let whole = match first_page::has_header(&config.path) {
            Ok(has) => has && (!there || damage::is_whole(&options, unclean).await?),
            Err(error) => return Err(sqlx::Error::Io(error).into()),
        };
        let opened = match whole {
            true => Connections::open(&options).await,
            false => Err(SpoolError::Damaged(sqlx::Error::RowNotFound)),
        };
        let (opened, salvage) = match opened {
            Err(SpoolError::Damaged(_)) => {
                let saved = save(&config.path, &options).await?;
                (Connections::open(&options).await?, Some(saved))
            }
            opened => (opened?, None),
        };
        if let Some(saved) = &salvage {
            tracing::error!(
                aside = %saved.aside.display(), frames = saved.frames, quarantined = saved.quarantined, lost = saved.lost,
                "the spool's file was damaged: it is set aside, and its readable frames are in a new one"
            );
            metrics.count_dropped(DropCause::Corrupt, saved.lost);
        }
        metrics.spool_frames.set(opened.waiting.0);
        metrics.spool_bytes.set(opened.waiting.1);
        Ok(Self {
            writer: opened.writer,
            readers: opened.readers,
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

    /// The result of the salvage when the spool was opened; `None` when the file was whole.
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

    /// Takes note of damage that an operation found.
    pub(super) fn note_damage<T>(&self, result: Result<T, SpoolError>) -> Result<T, SpoolError> {
        if matches!(result, Err(SpoolError::Damaged(_))) {
            self.damage.cancel();
        }
        result
    }

    /// Frames that wait for the cloud.
    pub fn backlog(&self) -> Backlog {
        Backlog {
            frames: self.metrics.spool_frames.get().max(0) as u64,
            bytes: self.metrics.spool_bytes.get().max(0) as u64,
        }
    }

    /// Most bytes of the file.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Share of the usable bytes that the waiting frames take, 0 to about 1.
    pub fn fill(&self) -> f64 {
        let room = self.max_bytes.saturating_sub(RESERVE_PAGES * PAGE_BYTES);
        self.backlog().bytes as f64 / room.max(1) as f64
    }

    /// Returns once a frame was pushed since the last call returned. For a single waiter.
    pub async fn arrival(&self) {
        self.arrival.notified().await;
    }

    /// Closes the file after the writes in progress.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
        // Without the mark, the next start checks the whole file, which takes longer.
        if !self.damage.is_cancelled()
            && let Err(error) = lock_file::mark_clean(&self.lock)
        {
            tracing::warn!(%error, "the spool cannot be marked as closed");
        }
    }
}

/// Sets a damaged file aside, and puts a new one with its readable frames into its place.
async fn save(path: &Path, options: &SqliteConnectOptions) -> Result<Salvage, SpoolError> {
    let fresh = aside::fresh(path).map_err(SpoolError::Aside)?;
    // If this is interrupted, it starts again from the beginning, so no write-ahead log is needed. The new file must
    // hold everything that the old one had.
    let options = options
        .clone()
        .filename(&fresh)
        .journal_mode(SqliteJournalMode::Truncate)
        .pragma("max_page_count", u32::MAX.to_string());
    let opened = Connections::open(&options).await?;
    let mended = first_page::mend(path, &fresh).await;
    mended.map_err(SpoolError::Aside)?;
    let mut connection = opened.writer.acquire().await?;
    let saved = salvage::copy(path, &mut connection).await?;
    drop(connection);
    opened.close().await;
    let aside = aside::replace(path).map_err(SpoolError::Aside)?;
    Ok(Salvage { aside, ..saved })
}

/// Locks the file beside the spool: two nodes on one spool would send each frame twice.
fn lock(spool: &Path) -> Result<File, SpoolError> {
    let mut path = spool.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    daemon::lock_file::lock(&path).map_err(|error| match error {
        TryLockError::WouldBlock => SpoolError::InUse(spool.display().to_string()),
        TryLockError::Error(error) => SpoolError::Lock(path.display().to_string(), error),
    })
}
