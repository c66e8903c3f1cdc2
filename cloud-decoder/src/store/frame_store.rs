//! The one owner of rows, objects, queue and change feed.

use std::sync::Arc;

use tokio::sync::{RwLock, broadcast};

use super::{
    catalogue::{Catalogue, CatalogueError, Database, FrameRows, Lease, Watchlist},
    objects::Objects,
    queue::Queue,
};
use super::{
    change_feed::{Change, ChangeFeed},
    error::StoreError,
    row_writer::{NewRows, RowWriter},
    shared_clock::SharedClock,
};

/// Keeps frames. Clones share everything.
#[derive(Clone)]
pub(crate) struct FrameStore {
    pub(super) catalogue: Catalogue,
    pub(super) rows: FrameRows,
    pub(super) watchlist: Watchlist,
    pub(super) objects: Objects,
    pub(super) queue: Arc<dyn Queue>,
    pub(super) changes: ChangeFeed,
    pub(super) clock: SharedClock,
    pub(super) new_rows: NewRows,
    /// Held for reading while a frame's objects and row are written, for writing while they are removed.
    pub(super) object_row_lock: Arc<RwLock<()>>,
}

impl FrameStore {
    /// Starts the writer of rows, which lives until the last clone is gone and all rows are written.
    pub(super) fn start(
        database: &Database,
        objects: Objects,
        queue: Arc<dyn Queue>,
        changes: ChangeFeed,
    ) -> Self {
        let catalogue = Catalogue(database.clone());
        let rows = FrameRows(database.clone());
        let clock = SharedClock::default();
        let writer = RowWriter {
            catalogue: catalogue.clone(),
            rows: rows.clone(),
            queue: queue.clone(),
            changes: changes.clone(),
            clock: clock.clone(),
        };
        Self {
            catalogue,
            rows,
            watchlist: Watchlist(database.clone()),
            objects,
            queue,
            changes,
            clock,
            new_rows: writer.start(),
            object_row_lock: Arc::default(),
        }
    }

    /// Answers queries about frames and cameras.
    pub(crate) fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Keeps data about cameras as a whole.
    pub(crate) fn watchlist(&self) -> &Watchlist {
        &self.watchlist
    }

    /// The feed of changes, for the tasks that keep it.
    pub(crate) fn changes(&self) -> &ChangeFeed {
        &self.changes
    }

    /// Every change of a frame's row from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// The time by the clock of all processes, in milliseconds since the Unix epoch.
    pub(crate) async fn now_ms(&self) -> Result<i64, StoreError> {
        Ok(self.clock.now_ms(&self.catalogue).await?)
    }

    /// Returns once the queue takes more frames.
    pub(crate) async fn queue_capacity(&self) {
        self.queue.capacity().await;
    }

    /// Offers frames again that the queue has lost. Returns their number.
    pub(crate) async fn recover_queue(&self) -> Result<u64, StoreError> {
        Ok(self.queue.recover().await?)
    }

    /// Whether catalogue, queue and local objects answer.
    pub(crate) async fn check_ready(&self) -> Result<(), StoreError> {
        self.catalogue.queued_since().await?;
        self.queue.ready()?;
        self.objects.check_folder()?;
        Ok(())
    }

    /// The lease of the process that removes and repairs; `None` while another process has it.
    pub(crate) async fn lease(&self) -> Result<Option<Lease>, CatalogueError> {
        self.catalogue.0.lease().await
    }

    /// Closes the database; calls in progress end with an error.
    pub(crate) async fn close(&self) {
        self.catalogue.0.close().await;
    }
}
