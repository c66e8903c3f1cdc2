//! State that the handlers of HTTP share.

use std::{sync::Arc, time::Instant};

use daemon::{expiry::Watched, guesses::Guesses, rate::Rates, tokens::Authenticator};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uplink::Link;

use super::body::Bodies;
use crate::{
    config::Config, metrics::Metrics, pipeline::Pipeline, sources::Statuses, spool::Spool,
};

/// State of the HTTP server.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) spool: Arc<Spool>,
    pub(crate) metrics: Metrics,
    pub(crate) link: watch::Receiver<Link>,
    pub(crate) stop: CancellationToken,
    pub(crate) started: Instant,
    pub(crate) bodies: Bodies,
    pub(crate) authenticator: Authenticator,
    pub(crate) guesses: Guesses,
    /// Certificates of the HTTP server and of the uplink.
    pub(crate) certificates: [Watched; 2],
    pub(crate) camera_rates: Option<Rates>,
    pub(crate) sources: Statuses,
}
