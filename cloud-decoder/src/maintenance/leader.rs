//! The work of the one process that has the lease: retention, repair, the watch over cameras, and recovery of frames
//! that the queue lost.

use std::time::Duration;

use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;

use super::{repair::Repair, retention::Remover};
use crate::{
    analysis::Watch,
    store::{FrameStore, catalogue::Lease},
};

/// How often a process asks for the lease.
const ASK: Duration = Duration::from_secs(10);
/// How often it makes sure that it still has the lease.
const CHECK: Duration = Duration::from_secs(5);
/// How often the queue is compared with the rows.
const COMPARE: Duration = Duration::from_secs(30);

/// The parts of this work.
pub(crate) struct Maintenance {
    pub(crate) store: FrameStore,
    pub(crate) remover: Remover,
    pub(crate) repair: Repair,
    pub(crate) watch: Watch,
}

impl Maintenance {
    /// Works until `stop`, whenever no other process has the lease.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.store.lease().await {
                Ok(Some(lease)) => self.lead(lease, &stop).await,
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "the maintenance lease cannot be asked for"),
            }
            // Both errors are harmless.
            timeout(ASK, stop.cancelled()).await.ok();
        }
    }

    async fn lead(&self, mut lease: Lease, stop: &CancellationToken) {
        let leading = stop.child_token();
        let all = async {
            tokio::join!(
                self.remover.run(&leading),
                self.repair.run(&leading),
                self.compare(&leading),
                self.watch.run(&leading)
            );
        };
        let watch = async {
            let mut ticks = interval(CHECK);
            loop {
                ticks.tick().await;
                if !lease.stands().await {
                    tracing::warn!("the maintenance lease is lost");
                    leading.cancel();
                    return;
                }
            }
        };
        tokio::select! {
            () = all => {}
            // Ends the work in progress, which is safe at every point.
            () = watch => {}
        }
    }

    async fn compare(&self, stop: &CancellationToken) {
        let mut ticks = interval(COMPARE);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            match self.store.recover_queue().await {
                Ok(0) => {}
                Ok(frames) => {
                    tracing::warn!(frames, "offered frames again that the queue had lost")
                }
                Err(error) => tracing::error!(%error, "comparing the queue with the rows"),
            }
        }
    }
}
