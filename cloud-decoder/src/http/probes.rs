//! Liveness, readiness and metrics.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use super::{App, error::ApiError};
use crate::Readiness;

/// The process answers.
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// A warm-up frame was decoded, the catalogue answers, and no shutdown has begun.
pub(super) async fn readyz(State(app): State<App>) -> Result<&'static str, ApiError> {
    if app.shutdown.is_cancelled() {
        return Err(ApiError::unavailable("the service is shutting down"));
    }
    match &*app.readiness.borrow() {
        Readiness::WarmingUp => return Err(ApiError::unavailable("the decoder is warming up")),
        Readiness::Broken(reason) => return Err(ApiError::unavailable(reason.clone())),
        Readiness::Ready => {}
    }
    app.catalogue.queued().await?;
    Ok("ok\n")
}

/// OpenMetrics text.
pub(super) async fn metrics(State(app): State<App>) -> Result<Response, ApiError> {
    let queued = app.catalogue.queued().await?;
    app.metrics.queued.set(queued as i64);
    let text = app.metrics.encode();
    let text = text.map_err(|_| ApiError::unavailable("the metrics could not be written"))?;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}
