//! The work of which one process of all does: retention, repair, the watch over cameras, and bringing back what the queue lost.

use std::{sync::Arc, time::Duration};

use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    analysis::Watch,
    catalogue::{Catalogue, Lead},
    queue::Queue,
    repair::Repair,
    retention::Keeper,
};

/// How often a process asks whether it is its turn.
const ASK: Duration = Duration::from_secs(10);
/// How often it makes sure that it still is.
const SURE: Duration = Duration::from_secs(5);
/// How often the queue is compared with the rows.
const COMPARE: Duration = Duration::from_secs(30);

/// All of it.
pub(crate) struct Housekeeping {
    pub(crate) catalogue: Arc<dyn Catalogue>,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) keeper: Keeper,
    pub(crate) repair: Arc<Repair>,
    pub(crate) watch: Watch,
}

impl Housekeeping {
    /// Keeps house until `stop`, whenever no other process does.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.catalogue.lead().await {
                Ok(Some(lead)) => self.lead(lead, &stop).await,
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "whose turn it is to keep house is not known"),
            }
            // Nothing is lost by either.
            timeout(ASK, stop.cancelled()).await.ok();
        }
    }

    async fn lead(&self, mut lead: Lead, stop: &CancellationToken) {
        let turn = stop.child_token();
        let all = async {
            tokio::join!(
                self.keeper.run(&turn),
                self.repair.run(&turn),
                self.compare(&turn),
                self.watch.run(&turn)
            );
        };
        let watch = async {
            let mut ticks = interval(SURE);
            loop {
                ticks.tick().await;
                if !lead.stands().await {
                    tracing::warn!("the lock of the housekeeping is lost");
                    turn.cancel();
                    return;
                }
            }
        };
        tokio::select! {
            () = all => {}
            // Ends what is under way, which is safe at every point.
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
            match self.queue.recover().await {
                Ok(0) => {}
                Ok(frames) => tracing::warn!(frames, "offered again what the queue had lost"),
                Err(error) => tracing::error!(%error, "comparing the queue with the rows"),
            }
        }
    }
}
