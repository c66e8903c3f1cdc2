//! Removes frames that are too old or too many, oldest first.
//!
//! A frame's objects go before its row: a crash between the two leaves a row without pictures, which the next pass
//! removes. A frame that waits for the decoder stays, whatever its age.

use std::{sync::Arc, time::Duration};

use tokio::sync::RwLock;
use tokio_util::sync::CancellationToken;

use crate::{
    catalogue::{Catalogue, CatalogueError, Kept},
    config::Retention,
    metrics::Metrics,
    objects::{ObjectError, Objects},
};

/// Time between passes.
const PERIOD: Duration = Duration::from_secs(10);
/// Frames removed in one transaction.
const BATCH: u32 = 64;

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    #[error(transparent)]
    Objects(#[from] ObjectError),
}

/// Keeps the policy.
pub(crate) struct Keeper {
    pub(crate) policy: Retention,
    pub(crate) catalogue: Arc<dyn Catalogue>,
    pub(crate) objects: Objects,
    pub(crate) metrics: Arc<Metrics>,
    /// See [`Store`](crate::store::Store).
    pub(crate) together: Arc<RwLock<()>>,
}

impl Keeper {
    /// Looks for frames to remove until `stop`.
    pub(crate) async fn run(&self, stop: &CancellationToken) {
        let mut ticks = tokio::time::interval(PERIOD);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if let Err(error) = self.pass(stop).await {
                tracing::error!(%error, "retention");
            }
        }
    }

    async fn pass(&self, stop: &CancellationToken) -> Result<(), Failed> {
        while !stop.is_cancelled() {
            let kept = self.catalogue.kept().await?;
            self.metrics.stored_bytes.set(kept.bytes as i64);
            let removed = self.remove_some(kept).await?;
            if removed.frames == 0 {
                return Ok(());
            }
            tracing::info!(
                frames = removed.frames,
                bytes = removed.bytes,
                "retention removed the oldest frames"
            );
        }
        Ok(())
    }

    async fn remove_some(&self, kept: Kept) -> Result<Kept, Failed> {
        let (before_ms, excess) = bounds(&self.policy, kept, self.catalogue.now_ms().await?);
        if before_ms == i64::MIN && excess == 0 {
            return Ok(Kept::default());
        }
        let _apart = self.together.write().await;
        let mut removed = Kept::default();
        let mut ids = Vec::new();
        for frame in self.catalogue.oldest(BATCH).await? {
            if frame.new.received_ms >= before_ms && removed.bytes >= excess {
                break;
            }
            self.objects.delete(frame.new.id).await?;
            removed.frames += 1;
            removed.bytes += frame.new.bytes;
            ids.push(frame.new.id);
        }
        self.catalogue.remove(&ids).await?;
        self.metrics.removed.inc_by(removed.frames);
        Ok(removed)
    }
}

/// The time before which frames go, in milliseconds since the Unix epoch, and the bytes that must be freed.
pub(crate) fn bounds(policy: &Retention, kept: Kept, now_ms: i64) -> (i64, u64) {
    let before_ms = policy.max_age_s.map_or(i64::MIN, |age| {
        now_ms - i64::try_from(age * 1000).unwrap_or(i64::MAX)
    });
    let excess = policy
        .max_bytes
        .map_or(0, |most| kept.bytes.saturating_sub(most));
    (before_ms, excess)
}
