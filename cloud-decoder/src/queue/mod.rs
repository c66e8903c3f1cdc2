//! The decode queue: which frames a worker is to decode next.
//!
//! The catalogue's rows in state `queued` say what waits; the queue says who gets what. It gives each frame to one
//! worker at a time, and again when that worker dies. A frame may come twice: who writes down the outcome first, counts.

mod jetstream;
mod lost;
mod opening;
mod rows;

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic::async_trait;

use crate::{
    catalogue::{CatalogueError, End},
    frame::Frame,
};

pub use jetstream::JetStreamQueue;
pub use rows::RowQueue;

/// Longest that [`Queue::take`] waits for a frame.
const WAIT: Duration = Duration::from_millis(500);

/// Why the queue could not do something.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The catalogue failed, in which the queue's attempts are counted.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// JetStream failed.
    #[error("decode queue: {what}: {error}")]
    JetStream {
        /// What was tried.
        what: &'static str,
        /// Why it did not work.
        error: async_nats::Error,
    },
    /// JetStream, or what it keeps for us, has not been seen for a while.
    #[error("the decode queue has not answered for {0} seconds")]
    Silent(u64),
    /// JetStream did not answer for long after this process started, or could not do what was asked yet.
    #[error("decode queue: JetStream was not ready within {seconds} seconds: {what}: {error}")]
    NotReady {
        /// How long it was waited for.
        seconds: u64,
        /// What was tried.
        what: &'static str,
        /// Why it did not work the last time.
        error: async_nats::Error,
    },
}

/// A frame that a worker has, until it gives it back or the process dies.
pub struct Claim {
    /// Its row, this attempt counted.
    pub frame: Frame,
    held: Option<jetstream::Held>,
}

/// Hands queued frames to workers.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Offers frames whose rows are queued and durable. Unless `again`, a frame that was offered shortly before is not
    /// offered twice.
    async fn offer(&self, frames: &[Frame], again: bool) -> Result<(), QueueError>;

    /// Takes a frame and counts the attempt. `None` when none came for a while, or `stop` came first.
    async fn take(&self, stop: &CancellationToken) -> Result<Option<Claim>, QueueError>;

    /// Lets go of a frame whose row is not queued any more.
    async fn done(&self, claim: Claim) -> Result<(), QueueError>;

    /// Gives a frame back whose decoding ended so, to be taken again after `delay`.
    async fn give_back(&self, claim: &Claim, delay: Duration, end: End) -> Result<(), QueueError>;

    /// Whether frames can be offered and taken, as far as was seen lately.
    ///
    /// # Errors
    /// They cannot.
    fn ready(&self) -> Result<(), QueueError>;

    /// Returns once there is room for more frames.
    async fn room(&self);

    /// Offers those frames again that wait by their rows and that the queue does not have. How many that were.
    async fn recover(&self) -> Result<u64, QueueError>;
}
