//! A message of JetStream that is reserved for one worker.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::{AckKind, message::Acker};
use tokio::{task::JoinHandle, time::sleep};

/// Time between two heartbeats of a worker.
const HEARTBEAT: Duration = Duration::from_secs(4);

/// The message, until this is dropped.
pub(super) struct Held {
    pub(super) acker: Arc<Acker>,
    heartbeat: JoinHandle<()>,
}

impl Held {
    pub(super) fn new(acker: Acker) -> Self {
        let acker = Arc::new(acker);
        let kept = acker.clone();
        let heartbeat = tokio::spawn(async move {
            loop {
                sleep(HEARTBEAT).await;
                // If a heartbeat is lost, another worker may get the message, and this one's work is wasted.
                kept.ack_with(AckKind::Progress).await.ok();
            }
        });
        Self { acker, heartbeat }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.heartbeat.abort();
    }
}
