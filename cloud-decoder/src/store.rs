//! Makes frames durable: objects first, then one row each, many frames' rows in one transaction.
//!
//! A frame's id stands for one content. The object that holds a frame is only ever created, so that of two frames with the same id
//! the first one is kept, whole, and the other is refused.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use bytes::Bytes;
use patchwire_proto::latent::LatentFrame;
use tokio::sync::{RwLock, mpsc, oneshot};

use crate::{
    catalogue::{Catalogue, CatalogueError, Watchlist},
    changes::Changes,
    clock::{DAY_MS, steady_ms},
    frame::{Frame, FrameState, NewFrame},
    objects::{Kind, ObjectError, Objects},
    queue::{Queue, QueueError},
    stored::StoredFrame,
    turn::{Broken, Turn},
};

/// Most rows in one transaction, and most frames waiting for the next.
const BATCH: usize = 64;

/// What became of a frame that was to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Insertion {
    /// It is durable now.
    New,
    /// It was durable already.
    Duplicate,
    /// Another content is kept under its id.
    Conflict,
}

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

type Reply = oneshot::Sender<Result<Insertion, Arc<StoreError>>>;

/// The way into objects and catalogue. Clones share one writer.
#[derive(Clone)]
pub(crate) struct Store {
    catalogue: Arc<dyn Catalogue>,
    cameras: Arc<dyn Watchlist>,
    objects: Objects,
    queue: Arc<dyn Queue>,
    rows: mpsc::Sender<(NewFrame, Reply)>,
    clock: Clock,
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
        let clock = Clock::default();
        let writer = Writer {
            catalogue: catalogue.clone(),
            clock: clock.clone(),
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
            clock,
            together,
        }
    }

    /// Whether the frame is durable already, or another one of its id; `None` when neither is. The bytes of a duplicate count as overhead. It
    /// is offered to the decoder if it waits for it: the process that stored it may have ended before it could.
    pub(crate) async fn find(&self, new: &NewFrame) -> Result<Option<Insertion>, StoreError> {
        let Some(frame) = self.catalogue.get(new.id).await? else {
            return Ok(None);
        };
        if !same_content(&frame, new) {
            return Ok(Some(Insertion::Conflict));
        }
        let day = frame.new.received_ms / DAY_MS;
        let again = self
            .cameras
            .came_again(day, &new.node_id, &new.camera_id, new.wire_bytes);
        again.await?;
        offer(&*self.queue, &[frame]).await?;
        Ok(Some(Insertion::Duplicate))
    }

    /// The time, by the clock of all processes, as of the last rows that were written.
    pub(crate) async fn now_ms(&self) -> Result<i64, StoreError> {
        match self.clock.known() {
            Some(now) => Ok(now),
            None => Ok(self.clock.read(&*self.catalogue).await?),
        }
    }

    /// Returns once there is room for one more frame in the queue.
    pub(crate) async fn room(&self) {
        self.queue.room().await;
    }

    /// Returns once the frame is durable, or is known not to be kept. Its row is written after those of earlier turns.
    pub(crate) async fn put(
        &self,
        frame: NewFrame,
        object: Bytes,
        original: Bytes,
        turn: &mut Turn,
    ) -> Result<Insertion, StoreError> {
        let _together = self.together.read().await;
        let id = frame.id;
        if !self.hold(&frame, object).await? {
            return Ok(Insertion::Conflict);
        }
        if !original.is_empty() {
            self.objects.put(Kind::Original, id, original).await?;
        }
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
            .map_err(StoreError::Together)
    }

    /// Creates the frame's object; `false` when that of another content is there. One that was sent before and never got its row
    /// has its object already.
    async fn hold(&self, frame: &NewFrame, object: Bytes) -> Result<bool, StoreError> {
        self.objects.folder_is_here()?;
        let (kind, id) = (Kind::Latents, frame.id);
        if self.objects.create(kind, id, object.clone()).await? {
            return Ok(true);
        }
        let there = self.objects.get(kind, id).await?;
        let there = there.map(StoredFrame::decode).and_then(Result::ok);
        let kept = match &there {
            Some(stored) if stored.record.is_some() => stored.digest() == frame.digest,
            // Of an earlier version, which never wrote its row. One that is damaged or gone by now stands for nothing.
            Some(stored) if LatentFrame::decode(stored.latents.clone()).is_ok() => {
                let new = StoredFrame::decode(object.clone());
                new.is_ok_and(|new| new.latents == stored.latents)
            }
            _ => true,
        };
        let replace = there.is_none_or(|stored| stored.record.is_none());
        if kept && replace {
            self.objects.put(kind, id, object).await?;
        }
        Ok(kept)
    }
}

/// The catalogue's clock, which all processes share, by how much it is ahead of this process's steady one.
#[derive(Clone)]
struct Clock {
    /// `i64::MIN` before it was read.
    ahead_ms: Arc<AtomicI64>,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            ahead_ms: Arc::new(AtomicI64::new(i64::MIN)),
        }
    }
}

impl Clock {
    async fn read(&self, catalogue: &dyn Catalogue) -> Result<i64, CatalogueError> {
        let now = catalogue.now_ms().await?;
        let ahead = now - steady_ms();
        self.ahead_ms.store(ahead, Ordering::Relaxed);
        Ok(now)
    }

    fn known(&self) -> Option<i64> {
        let ahead = self.ahead_ms.load(Ordering::Relaxed);
        (ahead != i64::MIN).then(|| ahead + steady_ms())
    }
}

/// Whether a frame is the one that is kept, as far as is known of one from before digests were kept.
fn same_content(kept: &Frame, new: &NewFrame) -> bool {
    kept.new.digest.is_none() || kept.new.digest == new.digest
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
    clock: Clock,
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

    /// Writes rows and offers what they hold to the decoder.
    async fn write(&self, mut frames: Vec<NewFrame>) -> Result<Vec<Insertion>, StoreError> {
        let now = self.clock.read(&*self.catalogue).await?;
        for frame in &mut frames {
            frame.received_ms = now;
        }
        let rows = self.catalogue.insert(frames.clone()).await?;
        let mut outcomes = Vec::with_capacity(rows.len());
        let mut there = Vec::with_capacity(rows.len());
        for (row, new) in rows.iter().zip(&frames) {
            if let Some(frame) = row {
                there.push(frame.clone());
                outcomes.push(Insertion::New);
                continue;
            }
            // Another process may have stored it just now, and not live to offer it.
            let kept = self.catalogue.get(new.id).await?;
            outcomes.push(
                match kept.as_ref().is_none_or(|kept| same_content(kept, new)) {
                    true => Insertion::Duplicate,
                    false => Insertion::Conflict,
                },
            );
            there.extend(kept);
        }
        let offered = offer(&*self.queue, &there).await;
        for frame in rows.into_iter().flatten() {
            self.changes.publish(frame).await;
        }
        offered?;
        Ok(outcomes)
    }
}
