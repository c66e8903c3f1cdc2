//! Makes rows and objects consistent again after a crash or a fault of the disk.
//!
//! An object is never deleted because it has no row: the catalogue may be older than the objects. A frame that was
//! stored whole except for its row, by a process that ended just then, gets its row. If more than a few frames have
//! none, the cause is another one, and nothing is changed. A decoded frame without its pictures is decoded once more;
//! if its latents are gone too, it fails with that reason. A frame that failed because its decoder was missing is
//! decoded once the decoder is there, and one whose object was read damaged once the object is read whole.

use std::{sync::Arc, time::Duration};

use rand::seq::SliceRandom as _;
use tokio::time::{Interval, interval};
use tokio_util::sync::CancellationToken;

use super::adopt::{Adopted, adopt_frame};
use crate::{
    decode::{Decoders, NoDecoder},
    frame::FrameState,
    metrics::Metrics,
    store::{DAMAGED, FrameStore, StoreError, catalogue::Page},
};

/// Time between passes.
const PERIOD: Duration = Duration::from_secs(60 * 60);
/// Time between checks of frames whose objects were read damaged.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Age from which an object without a row cannot belong to a frame that is being stored.
const ADOPTED_AT: Duration = Duration::from_secs(60 * 60);
/// Age from which files of interrupted writes are deleted.
const PARTIAL_UNTIL: Duration = Duration::from_secs(24 * 60 * 60);
/// Most frames without a row that crashes can explain: a number, and one in so many of all frames.
const FEW: u64 = 16;
const FEW_OF: u64 = 100;
/// Rows that are read at once.
const PAGE: u32 = 500;
/// Frames whose objects were read damaged, of which some are looked at again.
const MOST_DAMAGED: u32 = 100_000;

/// Repairs rows and objects.
pub(crate) struct Repair {
    pub(crate) store: FrameStore,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) decoders: Arc<Decoders>,
}

impl Repair {
    /// Looks for inconsistencies, at once and then every hour, until `stop`. Frames whose objects were read damaged are
    /// checked at the same time, because a pass over many frames takes long.
    pub(crate) async fn run(&self, stop: &CancellationToken) {
        let passes = async {
            let mut ticks = interval(PERIOD);
            while next(&mut ticks, stop).await {
                report(self.pass(stop).await);
            }
        };
        let looks = async {
            let mut ticks = interval(LOOK_AGAIN);
            while next(&mut ticks, stop).await {
                report(self.requeue_damaged(stop).await);
            }
        };
        tokio::join!(passes, looks);
    }

    async fn pass(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        self.requeue_parked(stop).await?;
        self.adopt_orphans(stop).await?;
        self.delete_partial_uploads().await?;
        self.requeue_without_pictures(stop).await
    }

    async fn requeue_parked(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        for decoder in self.decoders.iter() {
            for &bits in decoder.rates() {
                let program = decoder.program();
                let reason = NoDecoder { program, bits }.to_string();
                let mut frames = 0u64;
                loop {
                    let parked = self.store.catalogue().failed_for(&reason, PAGE).await?;
                    if parked.is_empty() || stop.is_cancelled() {
                        break;
                    }
                    for id in parked {
                        if self.store.requeue(id).await?.is_some() {
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

    /// Queues frames again whose objects were read damaged and are whole now: the damage may have come from the
    /// transfer.
    async fn requeue_damaged(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        let mut damaged = self
            .store
            .catalogue()
            .failed_for(DAMAGED, MOST_DAMAGED)
            .await?;
        // Takes them in turn, so that each is checked, however many there are.
        damaged.shuffle(&mut rand::rng());
        damaged.truncate(PAGE as usize);
        for id in damaged {
            if stop.is_cancelled() {
                break;
            }
            let Some(frame) = self.store.catalogue().get(id).await? else {
                continue;
            };
            let whole = self.store.read_frame(&frame).await.is_ok();
            if whole && self.store.requeue(id).await?.is_some() {
                self.metrics.requeued.inc();
                tracing::info!(frame = %id, "its objects are whole again, decoding it");
            }
        }
        Ok(())
    }

    async fn adopt_orphans(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        let newest = self.store.objects_now().await? - ADOPTED_AT;
        let found = self.store.survey_orphans(newest, stop).await?;
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
            match adopt_frame(&self.store, id, false).await? {
                Adopted::NotNeeded => orphans -= 1,
                Adopted::Row => {
                    orphans -= 1;
                    self.metrics.adopted.inc();
                    tracing::warn!(frame = %id, "made the missing row of a stored frame");
                }
                Adopted::Left(reason) => {
                    tracing::warn!(frame = %id, %reason, "an object without a row is left as it is");
                }
            }
        }
        self.metrics.orphans.set(orphans as i64);
        Ok(())
    }

    async fn delete_partial_uploads(&self) -> Result<(), StoreError> {
        let oldest = self.store.objects_now().await? - PARTIAL_UNTIL;
        match self.store.delete_partial_uploads(oldest).await {
            Ok(0) => {}
            Ok(files) => tracing::warn!(files, "deleted files of unfinished writes"),
            Err(error) => tracing::error!(%error, "deleting files of unfinished writes"),
        }
        Ok(())
    }

    async fn requeue_without_pictures(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        let mut page = Page {
            limit: PAGE,
            ..Page::default()
        };
        // A page after a frame that was removed meanwhile is `None`: the next pass continues.
        while let Some(frames) = self.store.catalogue().list(&page).await? {
            let Some(last) = frames.last() else { break };
            page.before = Some(last.new.id);
            for frame in frames.iter().filter(|f| f.state == FrameState::Decoded) {
                if stop.is_cancelled() {
                    return Ok(());
                }
                let id = frame.new.id;
                if let Some(kind) = self.store.requeue_without_picture(id).await? {
                    self.metrics.requeued.inc();
                    tracing::warn!(frame = %id, ?kind, "missing: decoding the frame again");
                }
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

fn report(done: Result<(), StoreError>) {
    if let Err(error) = done {
        tracing::error!(%error, "repair");
    }
}
