//! The HTTP server: routes and their limits.
//!
//! | route                  | answer                                                             |
//! |------------------------|--------------------------------------------------------------------|
//! | `POST /v1/frames`      | 202 once the encoded frame is on disk; see [`frames::post`]        |
//! | `GET /v1/frames/{id}`  | state of a frame                                                   |
//! | `GET /v1/encoder`      | the loaded programs and their memory maps                          |
//! | `GET /v1/status`       | backlog and link                                                   |
//! | `GET /livez`           | 200 while the process answers                                      |
//! | `GET /readyz`          | 200 while frames can be stored                                     |
//! | `GET /metrics`         | OpenMetrics text                                                   |
//! | `GET /docs`            | a page that shows `GET /openapi.json`                              |
//!
//! Where the node has tokens, posting frames needs a sender's, the state of a frame a sender's or a viewer's, and
//! everything else except the probes a viewer's. Errors are `{"error": "one sentence"}`.

mod auth;
mod body;
mod encoder;
mod error;
mod frames;
mod state;
mod status;

use std::sync::Arc;

use axum::{
    Router,
    middleware::from_fn_with_state,
    routing::{get, post},
};
use daemon::{
    http_error::{no_method, no_route, panicked},
    metrics::observe,
    reference::{self, Tokens},
    tokens::Kind,
};
use tower_http::{catch_panic::CatchPanicLayer, trace::TraceLayer};
use utoipa::OpenApi;

pub(crate) use self::{body::Bodies, state::App};

/// The HTTP API.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "edge-node",
        description = "Takes camera frames, encodes them on the emulated ASIC, sends them to the cloud. \
                       Errors are {\"error\": \"one sentence\"}."
    ),
    modifiers(&Tokens),
    paths(
        frames::post,
        frames::get,
        encoder::encoder,
        status::status,
        status::live,
        status::ready,
        status::metrics,
    )
)]
struct Document;

/// Paths of the API.
pub(crate) fn routes() -> impl Iterator<Item = String> {
    Document::openapi().paths.paths.into_keys()
}

pub(crate) fn router(app: Arc<App>) -> Router {
    let needs = |kinds: &'static [Kind]| from_fn_with_state((Arc::clone(&app), kinds), auth::needs);
    let sender = needs(&[Kind::Sender]);
    let either = needs(&[Kind::Sender, Kind::Viewer]);
    let viewer = needs(&[Kind::Viewer]);
    let mut metrics = get(status::metrics);
    if !app.config.auth.open_metrics {
        metrics = metrics.layer(viewer.clone());
    }
    Router::new()
        .route("/v1/frames", post(frames::post).layer(sender))
        .route("/v1/frames/{id}", get(frames::get).layer(either))
        .route("/v1/encoder", get(encoder::encoder).layer(viewer.clone()))
        .route("/v1/status", get(status::status).layer(viewer))
        .route("/livez", get(status::live))
        .route("/readyz", get(status::ready))
        .route("/metrics", metrics)
        .merge(reference::router("", &Document::openapi()))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(TraceLayer::new_for_http())
        .layer(from_fn_with_state(app.metrics.http.clone(), observe))
        .with_state(app)
}
