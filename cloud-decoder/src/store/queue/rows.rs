//! The rows of the embedded catalogue as the queue: the newest live frame first, and each fourth time the oldest.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::async_trait;

use super::contract::{Claim, Queue, QueueError, WAIT};
use crate::{
    clock::steady_ms,
    frame::Frame,
    store::catalogue::{AttemptEnd, Database, FrameRows},
};

/// Every fourth claim takes the oldest frame, so that none waits for ever.
const OLDEST_EVERY: u32 = 4;

/// [`Queue`] of one process beside a [`Database`] in SQLite.
pub struct RowQueue {
    rows: FrameRows,
    /// Claims made so far.
    claims: AtomicU32,
    /// Notified when a frame may be waiting.
    offered: Notify,
}

impl RowQueue {
    /// The queue in a catalogue.
    pub fn new(database: Database) -> Self {
        Self {
            rows: FrameRows(database),
            claims: AtomicU32::new(0),
            offered: Notify::new(),
        }
    }

    async fn claim(&self) -> Result<Option<Claim>, QueueError> {
        let claims = self.claims.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let oldest = claims.is_multiple_of(OLDEST_EVERY);
        let frame = self.rows.claim(steady_ms(), oldest).await?;
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
            // In both cases the rows are read again, because a retry may be due.
            _ = timeout(WAIT, self.offered.notified()) => self.claim().await,
        }
    }

    async fn done(&self, _claim: Claim) -> Result<(), QueueError> {
        Ok(())
    }

    async fn give_back(
        &self,
        claim: &Claim,
        delay: Duration,
        end: AttemptEnd,
    ) -> Result<(), QueueError> {
        let id = claim.frame.new.id;
        let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        let not_before_ms = steady_ms().saturating_add(delay_ms);
        Ok(self.rows.put_back(id, Some(not_before_ms), end).await?)
    }

    fn ready(&self) -> Result<(), QueueError> {
        Ok(())
    }

    async fn capacity(&self) {}

    async fn recover(&self) -> Result<u64, QueueError> {
        Ok(0)
    }
}
