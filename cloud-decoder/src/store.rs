//! Makes frames durable: objects first, then one row each, many frames' rows in one transaction.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Notify, RwLock, mpsc, oneshot};
use uuid::Uuid;

use crate::{
    catalogue::{Catalogue, CatalogueError},
    changes::Changes,
    frame::NewFrame,
    objects::{Kind, ObjectError, Objects},
    turn::{Broken, Turn},
};

/// Most rows in one transaction, and most frames waiting for the next.
const BATCH: usize = 64;

#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error(transparent)]
    Objects(#[from] ObjectError),
    #[error("{0}")]
    Catalogue(Arc<CatalogueError>),
    #[error(transparent)]
    Before(#[from] Broken),
    #[error("the service is shutting down")]
    Closed,
}

type Reply = oneshot::Sender<Result<bool, Arc<CatalogueError>>>;

/// The way into objects and catalogue. Clones share one writer.
#[derive(Clone)]
pub(crate) struct Store {
    catalogue: Arc<dyn Catalogue>,
    objects: Objects,
    rows: mpsc::Sender<(NewFrame, Reply)>,
    /// Read while a frame's row and objects are brought together, written while they are taken apart.
    together: Arc<RwLock<()>>,
}

impl Store {
    /// Starts the writer, which lives until the last clone is gone and all rows are written.
    pub(crate) fn start(
        catalogue: Arc<dyn Catalogue>,
        objects: Objects,
        changes: Changes,
        queue: Arc<Notify>,
        together: Arc<RwLock<()>>,
    ) -> Self {
        let (rows, receiver) = mpsc::channel(BATCH);
        tokio::spawn(write_rows(catalogue.clone(), receiver, changes, queue));
        Self {
            catalogue,
            objects,
            rows,
            together,
        }
    }

    /// Whether the frame is durable already.
    pub(crate) async fn contains(&self, id: Uuid) -> Result<bool, StoreError> {
        let frame = self.catalogue.get(id).await;
        Ok(frame
            .map_err(|e| StoreError::Catalogue(Arc::new(e)))?
            .is_some())
    }

    /// Returns once the frame is durable; `false` when it was there already. Its row is written after those of earlier
    /// turns.
    pub(crate) async fn put(
        &self,
        frame: NewFrame,
        latents: Bytes,
        original: Bytes,
        turn: &mut Turn,
    ) -> Result<bool, StoreError> {
        let _together = self.together.read().await;
        let id = frame.id;
        let put = async |kind, bytes: Bytes| match bytes.is_empty() {
            true => Ok(()),
            false => self.objects.put(kind, id, bytes).await,
        };
        tokio::try_join!(put(Kind::Latents, latents), put(Kind::Original, original))?;
        let (reply, stored) = oneshot::channel();
        turn.wait().await?;
        self.rows
            .send((frame, reply))
            .await
            .map_err(|_| StoreError::Closed)?;
        turn.pass();
        stored
            .await
            .map_err(|_| StoreError::Closed)?
            .map_err(StoreError::Catalogue)
    }
}

async fn write_rows(
    catalogue: Arc<dyn Catalogue>,
    mut receiver: mpsc::Receiver<(NewFrame, Reply)>,
    changes: Changes,
    queue: Arc<Notify>,
) {
    let mut waiting = Vec::with_capacity(BATCH);
    while receiver.recv_many(&mut waiting, BATCH).await > 0 {
        let (frames, replies): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
        // A reply that nobody waits for belongs to a stream that is gone: the edge will resend.
        match catalogue.insert(frames).await {
            Ok(rows) => {
                for (row, reply) in rows.into_iter().zip(replies) {
                    reply.send(Ok(row.is_some())).ok();
                    if let Some(frame) = row {
                        changes.publish(frame);
                    }
                }
                queue.notify_one();
            }
            Err(error) => {
                let error = Arc::new(error);
                for reply in replies {
                    reply.send(Err(error.clone())).ok();
                }
            }
        }
    }
}
