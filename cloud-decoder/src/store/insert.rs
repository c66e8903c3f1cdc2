//! Makes new frames durable: objects first, then rows, many frames' rows in one transaction.
//!
//! A frame's id stands for one content. The object that holds a frame is only ever created, so that of two frames with
//! the same id the first one is kept, whole, and the other is refused.

use bytes::Bytes;
use latent::LatentFrame;
use tokio::sync::OwnedRwLockReadGuard;

use super::{
    content::{Insertion, same_content},
    error::StoreError,
    frame_store::FrameStore,
    objects::Kind,
    row_writer::offer,
    stored_frame::StoredFrame,
};
use crate::{clock::DAY_MS, frame::NewFrame};

/// A frame whose objects are durable and whose row is still to be written.
pub(crate) struct PendingRow {
    row: NewFrame,
    _lock: OwnedRwLockReadGuard<()>,
}

impl FrameStore {
    /// Writes a frame's objects, unless the frame, or another one with its id, is durable already. `original` may be
    /// empty. The bytes of a duplicate count as overhead.
    pub(crate) async fn insert_objects(
        &self,
        row: NewFrame,
        object: Bytes,
        original: Bytes,
    ) -> Result<Result<PendingRow, Insertion>, StoreError> {
        if let Some(found) = self.find(&row).await? {
            return Ok(Err(found));
        }
        let lock = self.object_row_lock.clone().read_owned().await;
        if !self.create_object(&row, object).await? {
            return Ok(Err(Insertion::Conflict));
        }
        if !original.is_empty() {
            self.objects.put(Kind::Original, row.id, original).await?;
        }
        Ok(Ok(PendingRow { row, _lock: lock }))
    }

    /// Hands over the row of a frame whose objects are durable. The returned future ends once the row is durable, or is
    /// known not to be kept. Rows are written in the order in which this is called.
    pub(crate) async fn insert_row(
        &self,
        pending: PendingRow,
    ) -> Result<impl Future<Output = Result<Insertion, StoreError>> + use<>, StoreError> {
        let PendingRow { row, _lock } = pending;
        let writing = self.new_rows.write(row).await?;
        Ok(async move {
            let done = writing.done().await;
            drop(_lock);
            done
        })
    }

    /// Whether the frame, or another one with its id, is durable already; `None` when neither is. A duplicate that
    /// waits for the decoder is offered again: the process that stored it may have ended before it could.
    async fn find(&self, new: &NewFrame) -> Result<Option<Insertion>, StoreError> {
        let Some(frame) = self.catalogue.get(new.id).await? else {
            return Ok(None);
        };
        if !same_content(&frame, new) {
            return Ok(Some(Insertion::Conflict));
        }
        let day = frame.new.received_ms / DAY_MS;
        self.watchlist
            .came_again(day, &new.node_id, &new.camera_id, new.arrival.wire_bytes)
            .await?;
        offer(&*self.queue, &[frame]).await?;
        Ok(Some(Insertion::Duplicate))
    }

    /// Creates the frame's object; `false` when an object with another content is there. A frame that was sent before
    /// and never got its row has its object already.
    async fn create_object(&self, frame: &NewFrame, object: Bytes) -> Result<bool, StoreError> {
        self.objects.check_folder()?;
        let (kind, id) = (Kind::Latents, frame.id);
        if self.objects.create(kind, id, object.clone()).await? {
            return Ok(true);
        }
        let there = self.objects.get(kind, id).await?;
        let there = there.map(StoredFrame::decode).and_then(Result::ok);
        let same = match &there {
            Some(stored) if stored.record.is_some() => stored.digest() == frame.digest,
            // Written by an earlier version, which never wrote the row. An object that is damaged, or gone by now, is
            // replaced.
            Some(stored) if LatentFrame::decode(stored.latents.clone()).is_ok() => {
                let new = StoredFrame::decode(object.clone());
                new.is_ok_and(|new| new.latents == stored.latents)
            }
            _ => true,
        };
        let replace = there.is_none_or(|stored| stored.record.is_none());
        if same && replace {
            self.objects.put(kind, id, object).await?;
        }
        Ok(same)
    }
}
