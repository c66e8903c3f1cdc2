//! Makes frames durable: objects first, then one row each, many frames' rows in one transaction.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::try_join_all;
use tokio::sync::{RwLock, mpsc, oneshot};
use uuid::Uuid;

use crate::{
    catalogue::{Catalogue, CatalogueError, Watchlist},
    changes::Changes,
    clock::{DAY_MS, now_ms},
    frame::{Frame, FrameState, NewFrame},
    objects::{Kind, ObjectError, Objects},
    queue::{Queue, QueueError},
    turn::{Broken, Turn},
};

/// Most rows in one transaction, and most frames waiting for the next.
const BATCH: usize = 64;
/// Age of a frame in seconds, far below that at which [`Repair`](crate::repair::Repair) deletes orphans.
const OLD_S: u64 = 3600;

#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error(transparent)]
    Objects(#[from] ObjectError),
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// Of the transaction that this frame was in with others.
    #[error("{0}")]
    Together(Arc<StoreError>),
    #[error(transparent)]
    Before(#[from] Broken),
    #[error("the service is shutting down")]
    Closed,
}

type Reply = oneshot::Sender<Result<bool, Arc<StoreError>>>;

/// The way into objects and catalogue. Clones share one writer.
#[derive(Clone)]
pub(crate) struct Store {
    catalogue: Arc<dyn Catalogue>,
    cameras: Arc<dyn Watchlist>,
    objects: Objects,
    queue: Arc<dyn Queue>,
    rows: mpsc::Sender<(NewFrame, Reply)>,
    /// Read while a frame's row and objects are brought together, written while they are taken apart.
    together: Arc<RwLock<()>>,
}

impl Store {
    /// Starts the writer, which lives until the last clone is gone and all rows are written.
    pub(crate) fn start(
        catalogue: Arc<dyn Catalogue>,
        cameras: Arc<dyn Watchlist>,
        objects: Objects,
        changes: Changes,
        queue: Arc<dyn Queue>,
        together: Arc<RwLock<()>>,
    ) -> Self {
        let (rows, receiver) = mpsc::channel(BATCH);
        let writer = Writer {
            catalogue: catalogue.clone(),
            changes,
            queue: queue.clone(),
        };
        tokio::spawn(writer.run(receiver));
        Self {
            catalogue,
            cameras,
            objects,
            queue,
            rows,
            together,
        }
    }

    /// Whether the frame is durable already; its bytes count as overhead then. It is offered to the decoder if it waits for
    /// it: the process that stored it may have ended before it could.
    pub(crate) async fn contains(&self, new: &NewFrame) -> Result<bool, StoreError> {
        let Some(frame) = self.catalogue.get(new.id).await? else {
            return Ok(false);
        };
        let day = new.received_ms / DAY_MS;
        let again = self
            .cameras
            .came_again(day, &new.node_id, &new.camera_id, new.wire_bytes);
        again.await?;
        offer(&*self.queue, &[frame]).await?;
        Ok(true)
    }

    /// Returns once there is room for one more frame in the queue.
    pub(crate) async fn room(&self) {
        self.queue.room().await;
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
        let kept = [(Kind::Latents, latents), (Kind::Original, original)];
        let kept = kept.into_iter().filter(|(_, bytes)| !bytes.is_empty());
        let kept: Vec<_> = kept.collect();
        let put = |(kind, bytes): &(Kind, Bytes)| self.objects.put(*kind, id, bytes.clone());
        try_join_all(kept.iter().map(put)).await?;
        let (reply, stored) = oneshot::channel();
        turn.wait().await?;
        self.rows
            .send((frame, reply))
            .await
            .map_err(|_| StoreError::Closed)?;
        turn.pass();
        let new = stored
            .await
            .map_err(|_| StoreError::Closed)?
            .map_err(StoreError::Together)?;
        if new && is_old(id) {
            // What was put may have replaced an orphan that another process was about to delete.
            for object in &kept {
                if self.objects.size(object.0, id).await?.is_none() {
                    put(object).await?;
                }
            }
        }
        Ok(new)
    }
}

/// Whether a frame may have been sent before so long ago that its objects are orphans.
fn is_old(id: Uuid) -> bool {
    let made = id.get_timestamp().map_or(0, |time| time.to_unix().0);
    let now = u64::try_from(now_ms() / 1000).unwrap_or_default();
    // Or its edge's clock is wrong.
    now.abs_diff(made) > OLD_S
}

/// Offers those frames that wait for the decoder.
async fn offer(queue: &dyn Queue, frames: &[Frame]) -> Result<(), QueueError> {
    let waiting = frames.iter().filter(|f| f.state == FrameState::Queued);
    let waiting: Vec<_> = waiting.cloned().collect();
    match waiting.is_empty() {
        true => Ok(()),
        false => queue.offer(&waiting, false).await,
    }
}

/// The one writer of rows.
struct Writer {
    catalogue: Arc<dyn Catalogue>,
    changes: Changes,
    queue: Arc<dyn Queue>,
}

impl Writer {
    async fn run(self, mut receiver: mpsc::Receiver<(NewFrame, Reply)>) {
        let mut waiting = Vec::with_capacity(BATCH);
        while receiver.recv_many(&mut waiting, BATCH).await > 0 {
            let (frames, replies): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
            // A reply that nobody waits for belongs to a stream that is gone: the edge will resend.
            match self.write(frames).await {
                Ok(new) => {
                    for (new, reply) in new.into_iter().zip(replies) {
                        reply.send(Ok(new)).ok();
                    }
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

    /// Writes rows and offers what they hold to the decoder: whether each was new.
    async fn write(&self, frames: Vec<NewFrame>) -> Result<Vec<bool>, StoreError> {
        let ids: Vec<_> = frames.iter().map(|frame| frame.id).collect();
        let rows = self.catalogue.insert(frames).await?;
        let new = rows.iter().map(Option::is_some).collect();
        let mut there = Vec::with_capacity(rows.len());
        for (row, id) in rows.iter().zip(ids) {
            // Another process may have stored it just now, and not live to offer it.
            match row {
                Some(frame) => there.push(frame.clone()),
                None => there.extend(self.catalogue.get(id).await?),
            }
        }
        let offered = offer(&*self.queue, &there).await;
        for frame in rows.into_iter().flatten() {
            self.changes.publish(frame).await;
        }
        offered?;
        Ok(new)
    }
}
