//! Brings rows and objects together again after a crash or a mishap on the disk.
//!
//! An object without a row, left by a crash before the row was written and never sent again, is deleted once it is
//! a day old, and so is a file whose write was cut short. A decoded frame without its pictures is decoded once more; should its latents be gone too, it fails with
//! that as its reason. A frame that failed for want of a decoder is decoded once there is one.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::TryStreamExt as _;
use tokio::sync::RwLock;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    catalogue::{Catalogue, CatalogueError, Page},
    changes::Changes,
    clock::now_ms,
    decoders::{Decoders, NoDecoder},
    frame::{Frame, FrameState},
    metrics::Metrics,
    objects::{Kind, ObjectError, Objects},
    queue::{Queue, QueueError},
};

/// Time between passes.
const PERIOD: Duration = Duration::from_secs(60 * 60);
/// Age in milliseconds at which an object without a row is deleted.
const GRACE_MS: i64 = 24 * 60 * 60 * 1000;
/// Rows looked at at once.
const PAGE: u32 = 500;

/// Why a repair did not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RepairError {
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    #[error(transparent)]
    Objects(#[from] ObjectError),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// What a repair needs.
pub(crate) struct Repair {
    pub(crate) catalogue: Arc<dyn Catalogue>,
    pub(crate) objects: Objects,
    pub(crate) changes: Changes,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) decoders: Arc<Decoders>,
    /// See [`Store`](crate::store::Store).
    pub(crate) together: Arc<RwLock<()>>,
}

impl Repair {
    /// Looks for what does not belong together, at once and then every hour, until `stop`.
    pub(crate) async fn run(&self, stop: &CancellationToken) {
        let mut ticks = tokio::time::interval(PERIOD);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if let Err(error) = self.pass(stop).await {
                tracing::error!(%error, "repair");
            }
        }
    }

    /// Queues a decoded or failed frame once more. `None` when it was neither.
    pub(crate) async fn requeue(&self, id: Uuid) -> Result<Option<Frame>, RepairError> {
        let _together = self.together.read().await;
        self.requeue_now(id).await
    }

    async fn requeue_now(&self, id: Uuid) -> Result<Option<Frame>, RepairError> {
        let size =
            async |kind| Ok::<_, ObjectError>(self.objects.size(kind, id).await?.unwrap_or(0));
        let bytes = size(Kind::Latents).await? + size(Kind::Original).await?;
        let row = self.catalogue.requeue(id, bytes).await?;
        if let Some(frame) = &row {
            self.changes.publish(frame.clone()).await;
            self.queue.offer(std::slice::from_ref(frame), true).await?;
        }
        Ok(row)
    }

    async fn pass(&self, stop: &CancellationToken) -> Result<(), RepairError> {
        self.requeue_parked(stop).await?;
        for kind in Kind::ALL {
            self.delete_orphans(kind, stop).await?;
        }
        self.delete_staged().await;
        self.requeue_without_pictures(stop).await
    }

    async fn requeue_parked(&self, stop: &CancellationToken) -> Result<(), RepairError> {
        for decoder in self.decoders.iter() {
            for &bits in decoder.rates() {
                let program = decoder.program();
                let reason = NoDecoder { program, bits }.to_string();
                let mut frames = 0u64;
                loop {
                    let parked = self.catalogue.failed_for(&reason, PAGE).await?;
                    if parked.is_empty() || stop.is_cancelled() {
                        break;
                    }
                    for id in parked {
                        if self.requeue(id).await?.is_some() {
                            self.metrics.requeued.inc();
                            frames += 1;
                        }
                    }
                }
                if frames > 0 {
                    tracing::info!(frames, was = reason, "decoding frames that were parked");
                }
            }
        }
        Ok(())
    }

    async fn delete_orphans(
        &self,
        kind: Kind,
        stop: &CancellationToken,
    ) -> Result<(), RepairError> {
        let oldest = now_ms() - GRACE_MS;
        let mut objects = self.objects.list(kind);
        while let Some((id, written_ms)) = objects.try_next().await? {
            if stop.is_cancelled() {
                break;
            }
            if written_ms >= oldest || self.catalogue.get(id).await?.is_some() {
                continue;
            }
            let _apart = self.together.write().await;
            let Some(bytes) = self.objects.get(kind, id).await? else {
                continue;
            };
            if self.catalogue.get(id).await?.is_some() {
                continue;
            }
            self.objects.delete_one(kind, id).await?;
            if self.catalogue.get(id).await?.is_some() {
                // Another process stored the frame just now, and saw the object that is deleted.
                self.objects.put(kind, id, bytes).await?;
                continue;
            }
            self.metrics.orphans.inc();
            tracing::warn!(frame = %id, ?kind, "deleted an object without a row");
        }
        Ok(())
    }

    async fn delete_staged(&self) {
        let oldest = SystemTime::now() - Duration::from_millis(GRACE_MS as u64);
        match self.objects.delete_staged(oldest).await {
            Ok(0) => {}
            Ok(files) => {
                self.metrics.orphans.inc_by(files);
                tracing::warn!(files, "deleted what unfinished writes had left");
            }
            Err(error) => tracing::error!(%error, "deleting what unfinished writes had left"),
        }
    }

    async fn requeue_without_pictures(&self, stop: &CancellationToken) -> Result<(), RepairError> {
        let mut page = Page {
            limit: PAGE,
            ..Page::default()
        };
        // A page after a frame that was removed meanwhile is `None`: the next pass looks again.
        while let Some(frames) = self.catalogue.list(&page).await? {
            let Some(last) = frames.last() else { break };
            page.before = Some(last.new.id);
            for frame in frames.iter().filter(|f| f.state == FrameState::Decoded) {
                if stop.is_cancelled() {
                    return Ok(());
                }
                self.requeue_without_picture(frame.new.id).await?;
            }
        }
        Ok(())
    }

    async fn requeue_without_picture(&self, id: Uuid) -> Result<(), RepairError> {
        let _together = self.together.read().await;
        for kind in [Kind::Thumbnail, Kind::Reconstruction] {
            if self.objects.size(kind, id).await?.is_none() {
                if self.requeue_now(id).await?.is_some() {
                    self.metrics.requeued.inc();
                    tracing::warn!(frame = %id, ?kind, "missing, decoding the frame again");
                }
                break;
            }
        }
        Ok(())
    }
}
