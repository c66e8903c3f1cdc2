//! Makes the missing rows of frames whose objects are there.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    config::Config,
    ingest::validate,
    metrics::Metrics,
    store::{self, FrameStore, StoreError, objects::Kind, stored_frame::StoredFrame},
};

/// The result of [`adopt`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adoptions {
    /// Frames that the objects hold.
    pub frames: u64,
    /// Of these, those that got a row.
    pub adopted: u64,
    /// Of these, those that cannot have one, and are set aside.
    pub set_aside: u64,
}

/// The result of adopting one orphan.
#[derive(Debug)]
pub(super) enum Adopted {
    /// It has its row.
    Row,
    /// It had a row already, or is gone.
    NotNeeded,
    /// It is left as it is.
    Left(Left),
}

/// Why an orphan is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Left {
    #[error("its object is of an earlier version, which did not store all fields of a row")]
    NoRecord,
    #[error("its original is not there, or damaged")]
    NoOriginal,
    #[error("its object is damaged: {0}")]
    Damaged(String),
}

/// Makes the row of every frame whose object is there, in a catalogue that is new or older than the objects. Logs each
/// thousand. A service that keeps its catalogue in `data_dir` must not be running.
///
/// # Errors
/// Catalogue and objects are of different stores, or cannot be used.
pub async fn adopt(config: &Config) -> anyhow::Result<Adoptions> {
    let metrics = Arc::new(Metrics::new([]));
    let store = store::open(config, &metrics, true).await?.store;
    let any_age = SystemTime::UNIX_EPOCH + Duration::from_secs(u32::MAX.into());
    let found = store
        .survey_orphans(any_age, &CancellationToken::new())
        .await?;
    let mut done = Adoptions {
        frames: found.frames,
        ..Adoptions::default()
    };
    for (n, id) in (1u64..).zip(found.orphans) {
        match adopt_frame(&store, id, true).await? {
            Adopted::Row => done.adopted += 1,
            Adopted::NotNeeded => {}
            Adopted::Left(reason) => {
                done.set_aside += 1;
                tracing::warn!(frame = %id, %reason, "an object without a row is set aside");
                store.set_aside(id).await?;
            }
        }
        if n.is_multiple_of(1000) {
            tracing::info!(frames = n, "checked frames without a row");
        }
    }
    store.close().await;
    Ok(done)
}

/// Makes the row of an orphan. If its original is missing, this needs `without_original`, and the frame counts as one
/// without an original.
pub(super) async fn adopt_frame(
    store: &FrameStore,
    id: Uuid,
    without_original: bool,
) -> Result<Adopted, StoreError> {
    let Some(object) = store.read_object(Kind::Latents, id).await? else {
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
        let there = store.read_object(Kind::Original, id).await?;
        original = there.filter(|bytes| record.has_original(bytes));
        if original.is_none() && !without_original {
            return Ok(Adopted::Left(Left::NoOriginal));
        }
    }
    let original_size = original.as_ref().map_or(0, Bytes::len);
    let Some((record, mut frame)) = stored.message(original) else {
        return damaged("its record has no frame".to_owned());
    };
    // The checksum that came with the frame covers the original, too.
    frame.crc32c = frame.compute_crc32c();
    let checked = validate(u64::MAX, &record.node_id, record.received_unix_ms, frame);
    let mut new = match checked {
        Ok(checked) => checked.row,
        Err(error) => return damaged(error),
    };
    new.bytes = (size + original_size) as u64;
    new.digest = digest;
    let row = store.adopt(new).await?;
    Ok(row.map_or(Adopted::NotNeeded, |_| Adopted::Row))
}
