//! Claims on frames, and their outcomes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    catalogue::AttemptEnd,
    error::StoreError,
    frame_store::FrameStore,
    objects::{Kind, ObjectError},
    queue::{Claim, QueueError},
};
use crate::{
    clock::now_ms,
    frame::{Frame, FrameState, Quality, Work},
};

/// The pictures of a reconstruction.
pub(crate) struct Pictures {
    /// The reconstruction.
    pub(crate) png: Bytes,
    /// A small version of the reconstruction.
    pub(crate) jpeg: Bytes,
}

impl FrameStore {
    /// Takes a frame to decode. `None` when none came for a while, or `stop` came first.
    pub(crate) async fn take(&self, stop: &CancellationToken) -> Result<Option<Claim>, QueueError> {
        self.queue.take(stop).await
    }

    /// Notes that a frame's decoding runs alone in a process that has decoded others, until it ends.
    pub(crate) async fn mark_alone(&self, id: Uuid) -> Result<(), QueueError> {
        Ok(self.rows.mark_alone(id).await?)
    }

    /// Writes the pictures of a reconstruction. Returns their bytes and the work done, with the time of writing added.
    pub(crate) async fn put_pictures(
        &self,
        id: Uuid,
        pictures: Pictures,
        mut work: Work,
    ) -> Result<(u64, Work), ObjectError> {
        let start = Instant::now();
        let bytes = (pictures.jpeg.len() + pictures.png.len()) as u64;
        self.objects.put(Kind::Thumbnail, id, pictures.jpeg).await?;
        self.objects
            .put(Kind::Reconstruction, id, pictures.png)
            .await?;
        work.store_ns += u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        work.finished_ms = now_ms();
        Ok((bytes, work))
    }

    /// Records the reconstruction by a decoder, whose pictures are written.
    pub(crate) async fn complete(
        &self,
        id: Uuid,
        decoder: [u8; 32],
        quality: Quality,
        work: Work,
        bytes: u64,
    ) -> Result<(), QueueError> {
        let row = self.rows.decoded(id, decoder, quality, work, bytes).await?;
        self.publish(row).await;
        Ok(())
    }

    /// Marks a frame as failed.
    pub(crate) async fn fail(&self, id: Uuid, reason: &str) -> Result<(), QueueError> {
        let row = self.rows.failed(id, reason).await?;
        self.publish(row).await;
        Ok(())
    }

    /// Releases the claim on a frame whose outcome is recorded.
    pub(crate) async fn release(&self, claim: Claim) -> Result<(), QueueError> {
        self.queue.done(claim).await
    }

    /// Gives a frame back to the queue after an attempt that ended as `end`, to be taken again after `delay`.
    pub(crate) async fn give_back(
        &self,
        claim: &Claim,
        delay: Duration,
        end: AttemptEnd,
    ) -> Result<(), QueueError> {
        self.queue.give_back(claim, delay, end).await
    }

    /// Queues a decoded or failed frame once more. `None` when it was neither.
    pub(crate) async fn requeue(&self, id: Uuid) -> Result<Option<Frame>, StoreError> {
        let _lock = self.object_row_lock.read().await;
        self.requeue_locked(id).await
    }

    /// Queues a decoded frame once more if one of its pictures is missing. Returns the missing picture if the frame was
    /// queued.
    pub(crate) async fn requeue_without_picture(
        &self,
        id: Uuid,
    ) -> Result<Option<Kind>, StoreError> {
        let _lock = self.object_row_lock.read().await;
        for kind in [Kind::Thumbnail, Kind::Reconstruction] {
            if self.objects.size(kind, id).await?.is_none() {
                self.objects.check_present().await?;
                let row = self.requeue_locked(id).await?;
                return Ok(row.map(|_| kind));
            }
        }
        Ok(None)
    }

    async fn requeue_locked(&self, id: Uuid) -> Result<Option<Frame>, StoreError> {
        let mut bytes = 0;
        for kind in [Kind::Latents, Kind::Original] {
            bytes += self.objects.size(kind, id).await?.unwrap_or(0);
        }
        let row = self.rows.requeue(id, bytes).await?;
        if let Some(frame) = &row {
            self.announce(frame).await?;
        }
        Ok(row)
    }

    /// Publishes a frame that is queued once more, and offers it.
    pub(super) async fn announce(&self, frame: &Frame) -> Result<(), StoreError> {
        self.changes.publish(frame.clone()).await;
        if frame.state == FrameState::Queued {
            self.queue.offer(std::slice::from_ref(frame), true).await?;
        }
        Ok(())
    }

    async fn publish(&self, row: Option<Frame>) {
        if let Some(frame) = row {
            self.changes.publish(frame).await;
        }
    }
}
