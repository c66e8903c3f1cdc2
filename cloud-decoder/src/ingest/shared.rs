//! The part of ingest that all streams share.

use std::{sync::Arc, time::Duration};

use daemon::tokens::Authenticator;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{coded::Codec, quota::Quotas, sequence::Sequencer};
use crate::cluster::NodeRegistry;

/// Limits of the uplink.
pub(crate) struct Limits {
    /// Largest frame, width times height.
    pub(crate) max_pixels: u64,
    pub(crate) max_message_bytes: usize,
    /// Most bytes of the table of references of one stream.
    pub(crate) reference_bytes: usize,
    /// Most bytes of the tables of all streams.
    pub(crate) all_reference_bytes: usize,
    /// Frames of one stream that may be without their ack.
    pub(crate) window: u32,
    /// Most streams at once.
    pub(crate) max_streams: usize,
    pub(crate) quotas: Quotas,
    /// Age at which a stream is asked to reconnect, give or take a tenth.
    pub(crate) age: Duration,
    /// Longest that it may take to do so.
    pub(crate) grace: Duration,
}

/// The part of the service that all streams use.
pub(super) struct Shared {
    pub(super) sequencer: Arc<Sequencer>,
    pub(super) nodes: NodeRegistry,
    pub(super) codec: Codec,
    pub(super) limits: Limits,
    pub(super) gate: Authenticator,
    pub(super) shutdown: CancellationToken,
    /// Streams that may still be opened.
    pub(super) streams: Arc<Semaphore>,
}
