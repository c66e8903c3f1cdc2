//! The rows of the embedded catalogue as the queue: the newest live frame first, and each fourth time the oldest.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::async_trait;

use super::{Claim, Queue, QueueError, WAIT};
use crate::{
    catalogue::{End, SqliteCatalogue},
    frame::Frame,
};

/// [`Queue`] of one process beside a [`SqliteCatalogue`].
pub struct RowQueue {
    catalogue: Arc<SqliteCatalogue>,
    /// Notified when a frame may be waiting.
    offered: Notify,
}

impl RowQueue {
    /// The queue in a catalogue.
    pub fn new(catalogue: Arc<SqliteCatalogue>) -> Self {
        Self {
            catalogue,
            offered: Notify::new(),
        }
    }

    async fn claim(&self) -> Result<Option<Claim>, QueueError> {
        let frame = self.catalogue.claim().await?;
        if frame.is_some() {
            // Another worker may be idle while more frames wait.
            self.offered.notify_one();
        }
        Ok(frame.map(|frame| Claim { frame, held: None }))
    }
}

#[async_trait]
impl Queue for RowQueue {
    async fn offer(&self, _frames: &[Frame], _again: bool) -> Result<(), QueueError> {
        self.offered.notify_one();
        Ok(())
    }

    async fn take(&self, stop: &CancellationToken) -> Result<Option<Claim>, QueueError> {
        if let Some(claim) = self.claim().await? {
            return Ok(Some(claim));
        }
        tokio::select! {
            () = stop.cancelled() => Ok(None),
            // Either way, the rows are looked at again: a retry may have come due.
            _ = timeout(WAIT, self.offered.notified()) => self.claim().await,
        }
    }

    async fn done(&self, _claim: Claim) -> Result<(), QueueError> {
        Ok(())
    }

    async fn give_back(&self, claim: &Claim, delay: Duration, end: End) -> Result<(), QueueError> {
        let id = claim.frame.new.id;
        let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        Ok(self.catalogue.put_back(id, delay_ms, end).await?)
    }

    fn ready(&self) -> Result<(), QueueError> {
        Ok(())
    }

    async fn room(&self) {}

    async fn recover(&self) -> Result<u64, QueueError> {
        Ok(0)
    }
}
