//! Removes frames that are too old or too many, oldest first.
//!
//! A frame that waits for the decoder stays, whatever its age.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    config::Retention,
    metrics::Metrics,
    store::{FrameStore, StoreError, catalogue::Kept},
};

/// Time between passes.
const PERIOD: Duration = Duration::from_secs(10);
/// Enforces the policy.
pub(crate) struct Remover {
    pub(crate) policy: Retention,
    pub(crate) store: FrameStore,
    pub(crate) metrics: Arc<Metrics>,
}

impl Remover {
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

    async fn pass(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        while !stop.is_cancelled() {
            let kept = self.store.catalogue().kept().await?;
            self.metrics.stored_bytes.set(kept.bytes as i64);
            let (before_ms, excess) =
                bounds(&self.policy, kept, self.store.catalogue().now_ms().await?);
            if before_ms == i64::MIN && excess == 0 {
                return Ok(());
            }
            let removed = self.store.remove_oldest(before_ms, excess).await?;
            if removed.frames == 0 {
                return Ok(());
            }
            self.metrics.removed.inc_by(removed.frames);
            tracing::info!(
                frames = removed.frames,
                bytes = removed.bytes,
                "retention removed the oldest frames"
            );
        }
        Ok(())
    }
}

/// The time before which frames are removed, in milliseconds since the Unix epoch, and the bytes that must be freed.
pub(crate) fn bounds(policy: &Retention, kept: Kept, now_ms: i64) -> (i64, u64) {
    let before_ms = policy.max_age_s.map_or(i64::MIN, |age| {
        now_ms - i64::try_from(age * 1000).unwrap_or(i64::MAX)
    });
    let excess = policy
        .max_bytes
        .map_or(0, |most| kept.bytes.saturating_sub(most));
    (before_ms, excess)
}
