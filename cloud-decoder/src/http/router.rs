//! The routes, and the layers around them.

use std::time::Duration;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderValue, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use daemon::{http::Limits, metrics::observe, reference, tls::Acceptor};
use tokio::net::TcpListener;
use utoipa::OpenApi as _;

use super::{
    alarms, app::App, assets, compare, document::Document, error::ApiError, events, fleet, frames,
    images, latents, probes, session, stats,
};
use crate::config::Role;

/// How long a request may take to be answered; event streams go on after that.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Limits on each client of the server.
const LIMITS: Limits = Limits {
    max_connections: 1024,
    head_timeout: Duration::from_secs(30),
    stall_timeout: Duration::from_secs(30),
    // Leaves the rest of the shutdown's time for closing the catalogue.
    drain: Duration::from_secs(9),
};

/// Serves until `shutdown`, then until the last request is answered or the drain is over.
pub(crate) async fn serve(listener: TcpListener, acceptor: Acceptor, app: App) {
    let stop = app.shutdown.clone();
    daemon::http::serve(listener, acceptor, router(app), LIMITS, stop).await;
}

fn router(app: App) -> Router {
    let viewers = middleware::from_fn_with_state(app.clone(), session::viewers);
    let api = Router::new()
        .route("/frames", get(frames::list))
        .route("/frames/{id}", get(frames::one))
        .route("/frames/{id}/retry", post(frames::retry))
        .route(
            "/frames/{id}/reconstruction.png",
            get(images::reconstruction),
        )
        .route("/frames/{id}/original", get(images::original))
        .route("/frames/{id}/thumbnail.jpg", get(images::thumbnail))
        .route("/frames/{id}/latents.pwl", get(latents::latents))
        .route("/frames/{id}/patches", get(compare::patches))
        .route("/frames/{id}/same-size.jpg", get(compare::same_size))
        .route("/labels", get(frames::labels))
        .route("/cameras", get(stats::cameras))
        .route("/cameras/names", get(stats::camera_names))
        .route("/nodes", get(fleet::nodes))
        .route("/summary", get(stats::summary))
        .route("/history", get(fleet::history))
        .route("/drift", get(fleet::drift))
        .route("/alarms", get(alarms::list))
        .route("/alarms/{id}/acknowledge", post(alarms::acknowledge))
        .route("/traffic", get(alarms::traffic))
        .route("/retention", get(stats::retention))
        .route("/events", get(events::events))
        .layer(viewers.clone());
    let session = get(session::session)
        .post(session::login)
        .delete(session::logout)
        .layer(DefaultBodyLimit::max(1024));
    let mut metrics = get(probes::metrics);
    if !app.authentication.open_metrics {
        metrics = metrics.layer(viewers);
    }
    let mut router = Router::new()
        .route("/livez", get(probes::livez))
        .route("/readyz", get(probes::readyz))
        .route("/metrics", metrics);
    if app.role.does(Role::Web) {
        router = router
            .nest("/api/v1", api.route("/session", session))
            .merge(reference::router("/api", &Document::openapi()))
            .fallback(assets::serve);
    }
    router
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(middleware::from_fn(bounded))
        .layer(middleware::from_fn(security_headers))
        .layer(middleware::from_fn_with_state(
            app.metrics.http.clone(),
            observe,
        ))
        .with_state(app)
}

async fn bounded(request: Request, next: Next) -> Response {
    match tokio::time::timeout(TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::unavailable("the answer took longer than 30 seconds").into_response(),
    }
}

async fn security_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
