//! Orphans: frames with objects and without rows.

use std::time::SystemTime;

use futures::TryStreamExt as _;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{error::StoreError, frame_store::FrameStore, objects::Kind};
use crate::frame::{Frame, NewFrame};

/// Objects whose rows are queried at once.
const BATCH: usize = 500;
/// Most orphans that one survey lists.
const MAX_ORPHANS: usize = 1_000_000;

/// Frames by their objects.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// All that have an object with latents.
    pub(crate) frames: u64,
    /// Of these, those without a row, in the order in which they were captured; at most a million.
    pub(crate) orphans: Vec<Uuid>,
}

impl FrameStore {
    /// Frames that were written before `newest`, by the objects' clock, and have no row.
    pub(crate) async fn survey_orphans(
        &self,
        newest: SystemTime,
        stop: &CancellationToken,
    ) -> Result<Survey, StoreError> {
        let mut survey = Survey::default();
        let mut listed = self.objects.list(Kind::Latents).try_chunks(BATCH);
        while let Some(batch) = listed.try_next().await.map_err(|error| error.1)? {
            if stop.is_cancelled() {
                break;
            }
            survey.frames += batch.len() as u64;
            let old = batch.into_iter().filter(|(_, written)| *written <= newest);
            let ids: Vec<_> = old.map(|(id, _)| id).collect();
            let absent = self.catalogue.absent(&ids).await?;
            let most = MAX_ORPHANS - survey.orphans.len();
            survey.orphans.extend(absent.into_iter().take(most));
        }
        survey.orphans.sort_unstable();
        Ok(survey)
    }

    /// Makes the row of an orphan, and offers the frame to the decoder. `None` when it has its row already.
    pub(crate) async fn adopt(&self, row: NewFrame) -> Result<Option<Frame>, StoreError> {
        let _lock = self.object_row_lock.read().await;
        let row = self.rows.insert(vec![row]).await?.pop().flatten();
        if let Some(frame) = &row {
            self.announce(frame).await?;
        }
        Ok(row)
    }

    /// Moves the objects of an orphan to a place where no survey looks.
    pub(crate) async fn set_aside(&self, id: Uuid) -> Result<(), StoreError> {
        for kind in Kind::ALL {
            self.objects.set_aside(kind, id).await?;
        }
        Ok(())
    }
}
