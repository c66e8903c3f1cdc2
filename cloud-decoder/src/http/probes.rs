//! Liveness, readiness and metrics.

use axum::{extract::State, http::HeaderMap, response::Response};

use super::{
    app::App,
    error::{ApiError, ErrorBody},
};
use crate::{clock::now_ms, readiness::Readiness, store::StoreError};

/// The process answers.
#[utoipa::path(
    get,
    path = "/livez",
    responses(
        (status = 200, description = "The process answers", body = String),
    ),
)]
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// A warm-up frame was decoded where frames are, catalogue and queue answer, and no shutdown has begun.
#[utoipa::path(
    get,
    path = "/readyz",
    responses(
        (status = 200, description = "The service is ready", body = String),
        (status = 503, description = "Not ready", body = ErrorBody),
    ),
)]
pub(super) async fn readyz(State(app): State<App>) -> Result<&'static str, ApiError> {
    if app.shutdown.is_cancelled() {
        return Err(ApiError::unavailable("the service is shutting down"));
    }
    match &*app.readiness.borrow() {
        Readiness::WarmingUp => return Err(ApiError::unavailable("the decoder is warming up")),
        Readiness::Broken(reason) => return Err(ApiError::unavailable(reason.clone())),
        Readiness::Ready => {}
    }
    match app.store.check_ready().await {
        Ok(()) => {}
        Err(StoreError::Catalogue(error)) => return Err(error.into()),
        Err(error) => return Err(ApiError::unavailable(error.to_string())),
    }
    Ok("ok\n")
}

/// Metrics, in the text format of Prometheus, or as OpenMetrics where `Accept` prefers that.
#[utoipa::path(
    get,
    path = "/metrics",
    responses(
        (status = 200, description = "All series", content(
            (String = "text/plain"), (String = "application/openmetrics-text"),
        )),
    ),
)]
pub(super) async fn metrics(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let queued = app.store.catalogue().queued().await?;
    app.metrics.queued.set(queued as i64);
    let since = app.store.catalogue().queued_since().await?;
    let age = since.map_or(0, |ms| (now_ms() - ms).max(0) / 1000);
    app.metrics.queue_oldest_age_seconds.set(age);
    let text = app.metrics.encode();
    let text = text.map_err(|_| ApiError::unavailable("the metrics could not be written"))?;
    Ok(daemon::metrics::answer(&headers, text))
}
