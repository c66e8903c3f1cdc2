//! The HTTP side: routes and their limits.
//!
//! | route                  | answer                                                             |
//! |------------------------|--------------------------------------------------------------------|
//! | `POST /v1/frames`      | 202 once the encoded frame is on disk; see [`frames::post`]        |
//! | `GET /v1/frames/{id}`  | what became of a frame                                             |
//! | `GET /v1/encoder`      | the loaded programs and their memory maps                          |
//! | `GET /v1/status`       | backlog and link                                                   |
//! | `GET /livez`           | 200 while the process answers                                      |
//! | `GET /readyz`          | 200 while frames can be stored                                     |
//! | `GET /metrics`         | OpenMetrics text                                                   |
//! | `GET /docs`            | a page that shows `GET /openapi.json`                              |
//!
//! Where the node has tokens, frames need a sender's, what became of them a sender's or a viewer's, the rest but
//! the probes a viewer's. Whatever is refused is told as `{"error": "one sentence"}`.

mod auth;
mod body;
mod error;
mod frames;
mod status;

use std::{any::Any, sync::Arc};

use axum::{
    Router,
    http::{StatusCode, Uri},
    middleware::{self, from_fn_with_state},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use daemon::{
    metrics::observe,
    reference::{self, Tokens},
    tokens::Kind,
};
use tower_http::{catch_panic::CatchPanicLayer, trace::TraceLayer};
use utoipa::OpenApi;

pub(crate) use self::{body::Bodies, error::HttpError};
use crate::node::Node;

/// The HTTP API.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "edge-node",
        description = "Takes camera frames, encodes them on the emulated ASIC, sends them to the cloud. \
                       Whatever is refused is told as {\"error\": \"one sentence\"}."
    ),
    modifiers(&Tokens),
    paths(
        frames::post,
        frames::get,
        status::encoder,
        status::status,
        status::live,
        status::ready,
        status::metrics,
    )
)]
struct Document;

/// The API's routes.
pub(crate) fn routes() -> impl Iterator<Item = String> {
    Document::openapi().paths.paths.into_keys()
}

pub(crate) fn router(node: Arc<Node>) -> Router {
    let needs = |kinds: &'static [Kind]| {
        middleware::from_fn_with_state((Arc::clone(&node), kinds), auth::needs)
    };
    let sender = needs(&[Kind::Sender]);
    let either = needs(&[Kind::Sender, Kind::Viewer]);
    let viewer = needs(&[Kind::Viewer]);
    let mut metrics = get(status::metrics);
    if !node.config.auth.open_metrics {
        metrics = metrics.layer(viewer.clone());
    }
    Router::new()
        .route("/v1/frames", post(frames::post).layer(sender))
        .route("/v1/frames/{id}", get(frames::get).layer(either))
        .route("/v1/encoder", get(status::encoder).layer(viewer.clone()))
        .route("/v1/status", get(status::status).layer(viewer))
        .route("/livez", get(status::live))
        .route("/readyz", get(status::ready))
        .route("/metrics", metrics)
        .merge(reference::router("", &Document::openapi()))
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(TraceLayer::new_for_http())
        .layer(from_fn_with_state(node.metrics.http.clone(), observe))
        .with_state(node)
}

async fn no_route(uri: Uri) -> HttpError {
    let path: String = uri.path().chars().take(80).collect();
    HttpError::new(StatusCode::NOT_FOUND, format!("there is nothing at {path}"))
}

async fn wrong_method() -> HttpError {
    HttpError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this path does not take that method",
    )
}

fn panicked(_: Box<dyn Any + Send>) -> Response {
    HttpError::internal("a handler panicked").into_response()
}
