//! Watches stream and consumers of the queue.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_nats::jetstream::{Context, consumer::PullConsumer, stream::Stream};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    contract::{QueueError, failed},
    topology::make,
};
use crate::clock::steady_ms;

/// Time between two checks of the queue's length.
const PERIOD: Duration = Duration::from_secs(1);
/// Checks without an answer after which stream and consumers are made again if they are gone.
const MISSED: u32 = 2;
/// Longest time for making them again.
const OPEN: Duration = Duration::from_secs(10);

/// Checks stream and consumers, makes them again when servers lost them, and reports whether the queue takes more
/// frames.
pub(super) struct Watcher {
    pub(super) context: Context,
    pub(super) stream: Stream<()>,
    pub(super) consumers: [PullConsumer; 2],
    pub(super) max_frames: u64,
    /// Whether the queue takes more frames.
    pub(super) capacity: watch::Sender<bool>,
    /// When stream and consumers last answered, by the steady clock.
    pub(super) seen: Arc<AtomicI64>,
}

impl Watcher {
    /// Runs as long as the queue exists.
    pub(super) async fn run(self) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut missed = 0;
        while !self.capacity.is_closed() {
            ticks.tick().await;
            match self.messages().await {
                Ok(messages) => {
                    missed = 0;
                    self.seen.store(steady_ms(), Ordering::Relaxed);
                    self.capacity.send_if_modified(|capacity| {
                        let now = messages < self.max_frames;
                        std::mem::replace(capacity, now) != now
                    });
                }
                Err(error) => {
                    missed += 1;
                    tracing::warn!(%error, "the decode queue does not answer");
                }
            }
            if missed >= MISSED {
                let made = timeout(OPEN, make(&self.context, self.max_frames, false)).await;
                match made {
                    Ok(Ok(_)) => tracing::warn!("the decode queue was made again"),
                    Ok(Err(error)) => {
                        tracing::warn!(%error, "the decode queue cannot be made again")
                    }
                    Err(_) => tracing::warn!("the decode queue cannot be made again in time"),
                }
            }
        }
    }

    /// Messages that wait.
    async fn messages(&self) -> Result<u64, QueueError> {
        let what = "looking at the queue";
        let info = self.stream.get_info().await.map_err(failed(what))?;
        for consumer in &self.consumers {
            consumer.get_info().await.map_err(failed(what))?;
        }
        Ok(info.state.messages)
    }
}
