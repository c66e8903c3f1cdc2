//! Removing frames. A frame's objects go before its row: a crash between the two leaves a row without pictures, which the next removal
//! takes.

use std::{io, time::SystemTime};

use super::{catalogue::Kept, error::StoreError, frame_store::FrameStore, objects::ObjectError};

/// Frames removed in one transaction.
const BATCH: u32 = 64;

impl FrameStore {
    /// Removes some of the frames that do not wait for the decoder, oldest first: those that arrived before a time, in milliseconds
    /// since the Unix epoch, and those without which so many `bytes` are not yet freed. Returns the frames that were removed; none
    /// when none is left to remove.
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

    /// Deletes files that writes left which were cut short before `oldest`. How many.
    pub(crate) async fn delete_partial_uploads(&self, oldest: SystemTime) -> io::Result<u64> {
        self.objects.delete_partial(oldest).await
    }
}
