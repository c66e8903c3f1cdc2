//! What the node tells about itself: programs, status, health, metrics.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use daemon::metrics::CONTENT_TYPE;
use nqe::{BUDGET_BITS, Emulator};
use serde::Serialize;
use serde_json::{Value, json};

use super::error::HttpError;
use crate::{node::Node, spool::Backlog, uplink::LinkStatus};

#[derive(Serialize)]
struct Status {
    node_id: String,
    version: &'static str,
    uptime_s: u64,
    backlog: Backlog,
    /// Bits a patch that a frame would get now.
    bits_per_patch: u32,
    spool_max_bytes: u64,
    endpoint: String,
    uplink: LinkStatus,
}

/// `GET /v1/encoder`
pub(super) async fn encoder(State(node): State<Arc<Node>>) -> Json<Value> {
    let programs: Vec<_> = node.encoder.emulators().into_iter().map(program).collect();
    Json(json!({ "budget_bits": BUDGET_BITS, "programs": programs }))
}

fn program(emulator: &Emulator) -> Value {
    let program = emulator.program();
    let memory = program.memory();
    let task = match program.task() {
        nqe::Task::Classify => "classify",
        nqe::Task::Compress => "compress",
    };
    json!({
        "id": program.id().to_string(),
        "name": program.name(),
        "task": task,
        "kernel": emulator.path(),
        "labels": program.labels(),
        "latent_bits": program.latent_bits(),
        "layers": program.layers().len(),
        "macs_per_patch": program.macs(),
        "memory_bits": {
            "weights": memory.weights(),
            "wiring": memory.wiring(),
            "biases": memory.biases(),
            "shifts": memory.shifts(),
            "maps": memory.maps(),
            "total": memory.total(),
        },
    })
}

/// `GET /v1/status`
pub(super) async fn status(State(node): State<Arc<Node>>) -> impl axum::response::IntoResponse {
    Json(Status {
        node_id: node.config.node_id.clone(),
        version: env!("CARGO_PKG_VERSION"),
        uptime_s: node.started.elapsed().as_secs(),
        backlog: node.spool.backlog(),
        bits_per_patch: node.rate.bits(node.spool.fill()),
        spool_max_bytes: node.config.spool.max_bytes,
        endpoint: node.config.uplink.endpoint.clone(),
        uplink: node.link.borrow().status(),
    })
}

/// `GET /livez`: the process answers.
pub(super) async fn live() -> &'static str {
    "live\n"
}

/// `GET /readyz`: the programs ran a warm-up patch (or the node would not have started), the spool
/// can be written, and no shutdown has begun.
pub(super) async fn ready(State(node): State<Arc<Node>>) -> Result<&'static str, HttpError> {
    let not = |why: &str| Err(HttpError::new(StatusCode::SERVICE_UNAVAILABLE, why));
    if node.stop.is_cancelled() {
        return not("the node is shutting down");
    }
    if let Err(error) = node.spool.probe().await {
        tracing::warn!(%error, "not ready");
        return not("the spool cannot be written");
    }
    Ok("ready\n")
}

/// `GET /metrics`
pub(super) async fn metrics(State(node): State<Arc<Node>>) -> Result<Response, HttpError> {
    let age = node
        .link
        .borrow()
        .last_ack
        .map_or(-1, |at| at.elapsed().as_secs() as i64);
    node.metrics.last_ack_age_seconds.set(age);
    let waited = node.spool.oldest_age().await?;
    let waited = waited.map_or(0, |age| age.as_secs() as i64);
    node.metrics.spool_oldest_age_seconds.set(waited);
    let text = node.metrics.encode().map_err(HttpError::internal)?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}
