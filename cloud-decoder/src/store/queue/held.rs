//! A message of JetStream that a worker keeps from other workers.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::{AckKind, message::Acker};
use tokio::{task::JoinHandle, time::sleep};

/// How often a worker tells JetStream that it is still at work.
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
                // A heartbeat that is lost lets the message go to another worker, and this one works for nothing.
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
