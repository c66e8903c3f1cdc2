//! Brings frames back into the catalogue whose objects are there and whose rows are not.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use futures::TryStreamExt as _;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    catalogue::{Catalogue, CatalogueError},
    check,
    frame::Frame,
    objects::{Kind, ObjectError, Objects},
    stored::StoredFrame,
};

/// Objects whose rows are looked for at once.
const BATCH: usize = 500;
/// Most orphans that one survey remembers.
const MOST: usize = 1_000_000;

/// Why objects and rows cannot be compared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdoptError {
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    #[error(transparent)]
    Objects(#[from] ObjectError),
}

/// Frames by their objects.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// All that have an object with latents.
    pub(crate) frames: u64,
    /// Of these, those without a row, in the order in which they were captured; at most a million.
    pub(crate) orphans: Vec<Uuid>,
}

/// What became of an orphan.
#[derive(Debug)]
pub(crate) enum Adopted {
    /// It has its row.
    Row(Box<Frame>),
    /// It has had one all along, or is gone.
    NotNeeded,
    /// It is left as it is.
    Left(Left),
}

/// Why an orphan is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Left {
    #[error("its object is from a version that did not keep what a row needs")]
    NoRecord,
    #[error("its original is not there, or damaged")]
    NoOriginal,
    #[error("its object is damaged: {0}")]
    Damaged(String),
}

/// Objects and the catalogue that they should be in.
pub(crate) struct Adoption {
    pub(crate) catalogue: Arc<dyn Catalogue>,
    pub(crate) objects: Objects,
}

impl Adoption {
    /// Frames that were written before `newest`, by the objects' clock, and have no row.
    pub(crate) async fn survey(
        &self,
        newest: SystemTime,
        stop: &CancellationToken,
    ) -> Result<Survey, AdoptError> {
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
            let room = MOST - survey.orphans.len();
            survey.orphans.extend(absent.into_iter().take(room));
        }
        survey.orphans.sort_unstable();
        Ok(survey)
    }

    /// Moves the objects of an orphan that is left to where nobody looks for orphans.
    pub(crate) async fn set_aside(&self, id: Uuid) -> Result<(), AdoptError> {
        for kind in Kind::ALL {
            self.objects.set_aside(kind, id).await?;
        }
        Ok(())
    }

    /// Gives an orphan its row. One whose original is not there gets it only if `without_original`, and counts as a frame that came
    /// without one.
    pub(crate) async fn adopt(
        &self,
        id: Uuid,
        without_original: bool,
    ) -> Result<Adopted, AdoptError> {
        let Some(object) = self.objects.get(Kind::Latents, id).await? else {
            return Ok(Adopted::NotNeeded);
        };
        let size = object.len();
        let damaged = |error: String| Ok(Adopted::Left(Left::Damaged(error)));
        let stored = match StoredFrame::decode(object) {
            Ok(stored) => stored,
            Err(error) => return damaged(error.to_string()),
        };
        let digest = stored.digest();
        let Some(record) = &stored.record else {
            return Ok(Adopted::Left(Left::NoRecord));
        };
        let mut original = None;
        if record.original_bytes > 0 {
            let there = self.objects.get(Kind::Original, id).await?;
            original = there.filter(|bytes| record.has_original(bytes));
            if original.is_none() && !without_original {
                return Ok(Adopted::Left(Left::NoOriginal));
            }
        }
        let original_size = original.as_ref().map_or(0, Bytes::len);
        let Some((record, mut frame)) = stored.message(original) else {
            return damaged("its record has no frame".to_owned());
        };
        // The checksum that came with the frame is of the original, too.
        frame.crc32c = frame.compute_crc32c();
        let mut new = match check::check(u64::MAX, &record.node_id, record.received_unix_ms, frame)
        {
            Ok((new, _, _)) => new,
            Err(error) => return damaged(error),
        };
        new.bytes = (size + original_size) as u64;
        new.digest = digest;
        let row = self.catalogue.insert(vec![new]).await?.pop().flatten();
        Ok(row.map_or(Adopted::NotNeeded, |row| Adopted::Row(Box::new(row))))
    }
}
