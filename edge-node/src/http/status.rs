//! Status, health and metrics.

use std::sync::Arc;

use axum::{Json, extract::State, http::HeaderMap, response::Response};
use daemon::{
    http_error::{ErrorBody, HttpError},
    secrets::hide,
};
use serde::Serialize;
use uplink::Link;
use utoipa::ToSchema;

use super::{error::spool_error, state::App};
use crate::{pipeline::PipelineError, sources::SourceStatus, spool::Backlog};

#[derive(Serialize, ToSchema)]
pub(super) struct Status {
    node_id: String,
    version: &'static str,
    uptime_s: u64,
    backlog: Backlog,
    /// Bits per patch that a frame would get now.
    bits_per_patch: u32,
    spool_max_bytes: u64,
    endpoint: String,
    uplink: LinkStatus,
    /// When the certificate of the HTTP server expires, if that is within 14 days or past, in milliseconds since the
    /// Unix epoch.
    certificate_expires_ms: Option<i64>,
    /// The same for the node's certificate on the uplink.
    uplink_certificate_expires_ms: Option<i64>,
    /// Places that frames are fetched from.
    sources: Vec<SourceStatus>,
}

/// Link to the cloud.
#[derive(Serialize, ToSchema)]
struct LinkStatus {
    /// Whether the cloud has welcomed this node on an open stream.
    connected: bool,
    /// Seconds since the last ack.
    last_ack_age_s: Option<f64>,
    /// Why the last stream ended or could not be opened.
    last_error: Option<String>,
    /// Why the cloud cannot decode the last frame that it accepted, if so.
    notice: Option<String>,
    /// Frames in the spool that are larger than the cloud takes; they wait for a cloud that takes them.
    held_frames: u64,
    /// Why the last of them waits.
    held_reason: Option<String>,
}

impl From<&Link> for LinkStatus {
    fn from(link: &Link) -> Self {
        Self {
            connected: link.up_since.is_some(),
            last_ack_age_s: link.last_ack.map(|at| at.elapsed().as_secs_f64()),
            last_error: link.last_error.clone(),
            notice: link.notice.clone(),
            held_frames: link.held.frames,
            held_reason: link.held.reason.clone(),
        }
    }
}

/// Node, version, backlog, rate and uplink.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, description = "The status", body = Status)))]
pub(super) async fn status(State(app): State<Arc<App>>) -> Json<Status> {
    Json(Status {
        node_id: app.config.node_id.clone(),
        version: env!("CARGO_PKG_VERSION"),
        uptime_s: app.started.elapsed().as_secs(),
        backlog: app.spool.backlog(),
        bits_per_patch: app
            .pipeline
            .encoder
            .programs()
            .get()
            .all()
            .compress
            .bits(app.spool.fill()),
        spool_max_bytes: app.config.spool.max_bytes,
        endpoint: hide(&app.config.uplink.endpoint),
        uplink: (&*app.link.borrow()).into(),
        certificate_expires_ms: app.certificates[0].expires_soon_ms(),
        uplink_certificate_expires_ms: app.certificates[1].expires_soon_ms(),
        sources: app.sources.list(),
    })
}

/// The process answers.
#[utoipa::path(get, path = "/livez", responses((status = 200, description = "The process answers", body = String)))]
pub(super) async fn live() -> &'static str {
    "live\n"
}

/// Whether frames are accepted.
///
/// The programs ran a warm-up patch (or the node would not have started), the spool can be written, and no shutdown has
/// begun.
#[utoipa::path(
    get,
    path = "/readyz",
    responses(
        (status = 200, description = "Frames are accepted", body = String),
        (status = 503, description = "Not ready", body = ErrorBody),
    ),
)]
pub(super) async fn ready(State(app): State<Arc<App>>) -> Result<&'static str, HttpError> {
    let not = |why: &str| Err(HttpError::unavailable(why));
    if app.stop.is_cancelled() {
        return not("the node is shutting down");
    }
    if app.spool.is_damaged() {
        return not("the spool's file is damaged");
    }
    if let Err(error) = app.spool.probe().await {
        tracing::warn!(%error, "not ready");
        return not("the spool cannot be written");
    }
    Ok("ready\n")
}

/// Metrics in the text format of Prometheus, or as OpenMetrics where `Accept` prefers that.
#[utoipa::path(
    get,
    path = "/metrics",
    responses((status = 200, description = "All series", content((String = "text/plain"), (String = "application/openmetrics-text")))),
)]
pub(super) async fn metrics(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let age = app
        .link
        .borrow()
        .last_ack
        .map_or(-1, |at| at.elapsed().as_secs() as i64);
    app.metrics.last_ack_age_seconds.set(age);
    let waited = app.spool.oldest_age().await.map_err(spool_error)?;
    let waited = waited.map_or(0, |age| age.as_secs() as i64);
    app.metrics.spool_oldest_age_seconds.set(waited);
    let text = app
        .metrics
        .encode()
        .map_err(|error| HttpError::internal(error, PipelineError::Internal))?;
    Ok(daemon::metrics::answer(&headers, text))
}
