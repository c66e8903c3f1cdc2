//! The interface of the queue.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic::async_trait;

use super::held::Held;
use crate::{
    frame::Frame,
    store::catalogue::{AttemptEnd, CatalogueError},
};

/// Longest that [`Queue::take`] waits for a frame.
pub(super) const WAIT: Duration = Duration::from_millis(500);

/// Errors of the queue.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The catalogue, which counts the attempts, failed.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// JetStream failed.
    #[error("decode queue: {what}: {error}")]
    JetStream {
        /// The call that was tried.
        what: &'static str,
        /// Why it did not work.
        error: async_nats::Error,
    },
    /// JetStream, or the stream in it, has not answered for a while.
    #[error("the decode queue has not answered for {0} seconds")]
    Silent(u64),
    /// JetStream did not answer for long after this process started, or could not do what was asked yet.
    #[error("decode queue: JetStream was not ready within {seconds} seconds: {what}: {error}")]
    NotReady {
        /// Seconds of waiting.
        seconds: u64,
        /// The call that was tried.
        what: &'static str,
        /// Why it did not work the last time.
        error: async_nats::Error,
    },
}

/// A frame that a worker has, until it gives it back or the process dies.
pub struct Claim {
    /// Its row, this attempt counted.
    pub frame: Frame,
    pub(super) held: Option<Held>,
}

/// Hands queued frames to workers.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Offers frames whose rows are queued and durable. Unless `again`, a frame that was offered shortly before is not
    /// offered twice.
    async fn offer(&self, frames: &[Frame], again: bool) -> Result<(), QueueError>;

    /// Takes a frame and counts the attempt. `None` when none came for a while, or `stop` came first.
    async fn take(&self, stop: &CancellationToken) -> Result<Option<Claim>, QueueError>;

    /// Releases a frame whose row is no longer queued.
    async fn done(&self, claim: Claim) -> Result<(), QueueError>;

    /// Gives a frame back after an attempt that ended as `end`, to be taken again after `delay`.
    async fn give_back(
        &self,
        claim: &Claim,
        delay: Duration,
        end: AttemptEnd,
    ) -> Result<(), QueueError>;

    /// Whether frames can be offered and taken, as of the last check.
    ///
    /// # Errors
    /// They cannot.
    fn ready(&self) -> Result<(), QueueError>;

    /// Returns once the queue takes more frames.
    async fn capacity(&self);

    /// Offers frames again that wait by their rows and are missing in the queue. Returns their number.
    async fn recover(&self) -> Result<u64, QueueError>;
}

/// An error of JetStream, with the call that was tried.
pub(super) fn failed<E: Into<async_nats::Error>>(
    what: &'static str,
) -> impl FnOnce(E) -> QueueError {
    move |error| QueueError::JetStream {
        what,
        error: error.into(),
    }
}
