//! The state of the HTTP application.

use std::sync::Arc;

use daemon::expiry::Watched;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::{authentication::Authentication, decoder_info::DecoderInfo};
use crate::{
    analysis::Comparisons,
    cluster::NodeRegistry,
    config::{Retention, Role},
    metrics::Metrics,
    readiness::Readiness,
    store::FrameStore,
};

/// The state that handlers use.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) role: Role,
    pub(crate) store: FrameStore,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) nodes: NodeRegistry,
    pub(crate) comparisons: Comparisons,
    /// The main decoder.
    pub(crate) decoder: DecoderInfo,
    /// All decoders.
    pub(crate) decoders: Arc<[DecoderInfo]>,
    pub(crate) readiness: watch::Receiver<Readiness>,
    pub(crate) retention: Retention,
    /// Event streams and gRPC watchers that may still be opened.
    pub(crate) watchers: Arc<Semaphore>,
    pub(crate) authentication: Authentication,
    pub(crate) certificate: Watched,
    pub(crate) shutdown: CancellationToken,
}
