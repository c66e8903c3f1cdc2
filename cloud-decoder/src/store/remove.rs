//! Removing frames. A frame's objects go before its row: a crash between the two leaves a row without objects, which
//! the next removal takes.

use std::{io, time::SystemTime};

use super::{catalogue::Kept, error::StoreError, frame_store::FrameStore, objects::ObjectError};

/// Frames removed in one transaction.
const BATCH: u32 = 64;

impl FrameStore {
    /// Removes some of the frames that do not wait for the decoder, oldest first: those that arrived before a time, in
    /// milliseconds since the Unix epoch, and further ones until `bytes` are freed. Returns the removed frames; none
    /// when there is nothing left to remove.
    pub(crate) async fn remove_oldest(
        &self,
        before_ms: i64,
        bytes: u64,
    ) -> Result<Kept, StoreError> {
        let _lock = self.object_row_lock.write().await;
        let mut removed = Kept::default();
        let mut ids = Vec::new();
        for frame in self.catalogue.oldest(BATCH).await? {
            if frame.new.received_ms >= before_ms && removed.bytes >= bytes {
                break;
            }
            self.objects.delete(frame.new.id).await?;
            removed.frames += 1;
            removed.bytes += frame.new.bytes;
            ids.push(frame.new.id);
        }
        self.rows.remove(&ids).await?;
        Ok(removed)
    }

    /// The time by the clock of the objects.
    pub(crate) async fn objects_now(&self) -> Result<SystemTime, ObjectError> {
        self.objects.try_out().await
    }

    /// Deletes files of writes that were interrupted before `oldest`. Returns their number.
    pub(crate) async fn delete_partial_uploads(&self, oldest: SystemTime) -> io::Result<u64> {
        self.objects.delete_partial(oldest).await
    }
}
