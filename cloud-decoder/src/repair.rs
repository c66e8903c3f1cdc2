//! Brings rows and objects together again after a crash or a mishap on the disk.
//!
//! An object is never deleted because no row knows it: the catalogue may be older than the objects. A frame that was stored whole
//! but for its row, by a process that ended just then, gets its row. Where more than a few frames have none, something else is the matter,
//! and nothing is changed. A decoded frame without its pictures is decoded once more; should its latents be gone too, it fails with
//! that as its reason. A frame that failed for want of a decoder is decoded once there is one, and one whose object was read damaged
//! once it is read whole.

use std::{sync::Arc, time::Duration};

use rand::seq::SliceRandom as _;
use tokio::{
    sync::RwLock,
    time::{Interval, interval},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    adopt::{AdoptError, Adopted, Adoption},
    catalogue::{Catalogue, CatalogueError, Page},
    changes::Changes,
    decode::{DAMAGED, read_stored},
    decoders::{Decoders, NoDecoder},
    frame::{Frame, FrameState},
    metrics::Metrics,
    objects::{Kind, ObjectError, Objects},
    queue::{Queue, QueueError},
};

/// Time between passes.
const PERIOD: Duration = Duration::from_secs(60 * 60);
/// Time between looks at frames whose objects were read damaged.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Age at which an object without a row is not one that is being stored.
const ADOPTED_AT: Duration = Duration::from_secs(60 * 60);
/// Age at which a file is deleted that a write that was cut short has left.
const STAGED_UNTIL: Duration = Duration::from_secs(24 * 60 * 60);
/// Frames without a row that crashes explain: so many, or one in so many of all.
const FEW: u64 = 16;
const FEW_OF: u64 = 100;
/// Rows looked at at once.
const PAGE: u32 = 500;
/// Frames whose objects were read damaged, of which some are looked at again.
const MOST_DAMAGED: u32 = 100_000;

/// Why a repair did not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RepairError {
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    #[error(transparent)]
    Objects(#[from] ObjectError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Adopt(#[from] AdoptError),
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
    /// Looks for what does not belong together, at once and then every hour, until `stop`. Frames whose objects were read damaged are
    /// looked at meanwhile: a pass over many frames takes long.
    pub(crate) async fn run(&self, stop: &CancellationToken) {
        let passes = async {
            let mut ticks = interval(PERIOD);
            while next(&mut ticks, stop).await {
                told(self.pass(stop).await);
            }
        };
        let looks = async {
            let mut ticks = interval(LOOK_AGAIN);
            while next(&mut ticks, stop).await {
                told(self.requeue_damaged(stop).await);
            }
        };
        tokio::join!(passes, looks);
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
        self.adopt_orphans(stop).await?;
        self.delete_staged().await?;
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

    /// Queues frames again whose objects were read damaged and are whole now: a server may have sent something else.
    async fn requeue_damaged(&self, stop: &CancellationToken) -> Result<(), RepairError> {
        let mut damaged = self.catalogue.failed_for(DAMAGED, MOST_DAMAGED).await?;
        // Each has its turn, however many there are.
        damaged.shuffle(&mut rand::rng());
        damaged.truncate(PAGE as usize);
        for id in damaged {
            if stop.is_cancelled() {
                break;
            }
            let Some(frame) = self.catalogue.get(id).await? else {
                continue;
            };
            if read_stored(&self.objects, &frame).await.is_ok() && self.requeue(id).await?.is_some()
            {
                self.metrics.requeued.inc();
                tracing::info!(frame = %id, "its objects are whole again, decoding it");
            }
        }
        Ok(())
    }

    async fn adopt_orphans(&self, stop: &CancellationToken) -> Result<(), RepairError> {
        let adoption = Adoption {
            catalogue: self.catalogue.clone(),
            objects: self.objects.clone(),
        };
        let newest = self.objects.now().await? - ADOPTED_AT;
        let found = adoption.survey(newest, stop).await?;
        let mut orphans = found.orphans.len() as u64;
        self.metrics.orphans.set(orphans as i64);
        if orphans > FEW.max(found.frames / FEW_OF) {
            tracing::error!(
                orphans,
                frames = found.frames,
                "the objects hold frames that the catalogue does not know, which may be older than they are: nothing is changed, \
                 `cloud-decoder adopt` brings them back"
            );
            return Ok(());
        }
        for id in found.orphans {
            if stop.is_cancelled() {
                break;
            }
            let _together = self.together.read().await;
            match adoption.adopt(id, false).await? {
                Adopted::NotNeeded => orphans -= 1,
                Adopted::Row(frame) => {
                    orphans -= 1;
                    self.metrics.adopted.inc();
                    tracing::warn!(frame = %id, "a stored frame had no row, it has one now");
                    self.queue
                        .offer(std::slice::from_ref(&*frame), true)
                        .await?;
                    self.changes.publish(*frame).await;
                }
                Adopted::Left(reason) => {
                    tracing::warn!(frame = %id, %reason, "an object without a row is left as it is");
                }
            }
        }
        self.metrics.orphans.set(orphans as i64);
        Ok(())
    }

    async fn delete_staged(&self) -> Result<(), RepairError> {
        let oldest = self.objects.now().await? - STAGED_UNTIL;
        match self.objects.delete_staged(oldest).await {
            Ok(0) => {}
            Ok(files) => tracing::warn!(files, "deleted what unfinished writes had left"),
            Err(error) => tracing::error!(%error, "deleting what unfinished writes had left"),
        }
        Ok(())
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
                self.objects.are_here().await?;
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

/// Waits for the next tick; `false` if `stop` came first.
async fn next(ticks: &mut Interval, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => false,
        _ = ticks.tick() => true,
    }
}

fn told(done: Result<(), RepairError>) {
    if let Err(error) = done {
        tracing::error!(%error, "repair");
    }
}
