//! What the node tells about itself: programs, status, health, metrics.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use daemon::secrets::hide;
use nqe::{BUDGET_BITS, Emulator};
use serde::Serialize;
use uplink::Link;
use utoipa::ToSchema;

use super::error::{HttpError, Told};
use crate::{node::Node, programs::Choice, sources::SourceStatus, spool::Backlog};

#[derive(Serialize, ToSchema)]
pub(super) struct Status {
    node_id: String,
    version: &'static str,
    uptime_s: u64,
    backlog: Backlog,
    /// Bits a patch that a frame would get now.
    bits_per_patch: u32,
    spool_max_bytes: u64,
    endpoint: String,
    uplink: LinkStatus,
    /// When the certificate of the HTTP side expires, if that is within 14 days or past, milliseconds since the Unix epoch.
    certificate_expires_ms: Option<i64>,
    /// The same of the node's certificate on the uplink.
    uplink_certificate_expires_ms: Option<i64>,
    /// Where frames are fetched from.
    sources: Vec<SourceStatus>,
}

/// The link as it is shown to people.
#[derive(Serialize, ToSchema)]
struct LinkStatus {
    /// Whether the cloud has welcomed this node and the stream stands.
    connected: bool,
    /// Seconds since the last ack.
    last_ack_age_s: Option<f64>,
    /// Why the last stream ended or did not start.
    last_error: Option<String>,
    /// Why the cloud cannot decode the last frame that it took, if so.
    notice: Option<String>,
    /// Frames in the spool that are larger than the cloud takes; they wait for one that takes them.
    held_frames: u64,
    /// Why the last one of them waits.
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

/// The chip and what is loaded into it.
#[derive(Serialize, ToSchema)]
pub(super) struct Chip {
    /// Bits that it has in all.
    budget_bits: u64,
    programs: Vec<ProgramJson>,
    /// Programs of cameras that have no others.
    chosen: ChosenJson,
    /// Programs of cameras that have, by camera.
    cameras: BTreeMap<String, ChosenJson>,
}

/// Ids of a camera's programs.
#[derive(Serialize, ToSchema)]
struct ChosenJson {
    compress: String,
    classify: String,
}

impl From<&Choice> for ChosenJson {
    fn from(choice: &Choice) -> Self {
        Self {
            compress: hex::encode(choice.compress.id()),
            classify: hex::encode(choice.classify.id()),
        }
    }
}

/// A loaded program.
#[derive(Serialize, ToSchema)]
struct ProgramJson {
    /// SHA-256 of the program.
    id: String,
    name: String,
    task: &'static str,
    /// Instructions that the emulator uses.
    kernel: String,
    /// Of a program that classifies.
    labels: Vec<String>,
    /// Bits a patch of a program that compresses.
    latent_bits: Option<u32>,
    layers: usize,
    macs_per_patch: u64,
    memory_bits: Memory,
}

/// Bits of the chip's memory.
#[derive(Serialize, ToSchema)]
struct Memory {
    weights: u64,
    wiring: u64,
    biases: u64,
    shifts: u64,
    maps: u64,
    total: u64,
}

/// The loaded programs, their memory maps and their work.
#[utoipa::path(get, path = "/v1/encoder", responses((status = 200, description = "The chip", body = Chip)))]
pub(super) async fn encoder(State(node): State<Arc<Node>>) -> Json<Chip> {
    let programs = node.encoder.programs().get();
    let loaded = programs.loaded().into_iter();
    let cameras = programs.cameras();
    Json(Chip {
        budget_bits: BUDGET_BITS,
        programs: loaded.map(|l| program(&l.emulator)).collect(),
        chosen: programs.all().into(),
        cameras: cameras
            .map(|(c, choice)| (c.to_owned(), choice.into()))
            .collect(),
    })
}

fn program(emulator: &Emulator) -> ProgramJson {
    let program = emulator.program();
    let memory = program.memory();
    let task = match program.task() {
        nqe::Task::Classify => "classify",
        nqe::Task::Compress => "compress",
    };
    ProgramJson {
        id: program.id().to_string(),
        name: program.name().to_owned(),
        task,
        kernel: emulator.path().to_string(),
        labels: program.labels().to_vec(),
        latent_bits: program.latent_bits(),
        layers: program.layers().len(),
        macs_per_patch: program.macs(),
        memory_bits: Memory {
            weights: memory.weights(),
            wiring: memory.wiring(),
            biases: memory.biases(),
            shifts: memory.shifts(),
            maps: memory.maps(),
            total: memory.total(),
        },
    }
}

/// Node, version, backlog, rate and uplink.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, description = "How it fares", body = Status)))]
pub(super) async fn status(State(node): State<Arc<Node>>) -> impl axum::response::IntoResponse {
    Json(Status {
        node_id: node.config.node_id.clone(),
        version: env!("CARGO_PKG_VERSION"),
        uptime_s: node.started.elapsed().as_secs(),
        backlog: node.spool.backlog(),
        bits_per_patch: node
            .encoder
            .programs()
            .get()
            .all()
            .compress
            .bits(node.spool.fill()),
        spool_max_bytes: node.config.spool.max_bytes,
        endpoint: hide(&node.config.uplink.endpoint),
        uplink: (&*node.link.borrow()).into(),
        certificate_expires_ms: node.certificates[0].expires_soon_ms(),
        uplink_certificate_expires_ms: node.certificates[1].expires_soon_ms(),
        sources: node.sources.list(),
    })
}

/// The process answers.
#[utoipa::path(get, path = "/livez", responses((status = 200, description = "It does", body = String)))]
pub(super) async fn live() -> &'static str {
    "live\n"
}

/// Whether frames can be taken.
///
/// The programs ran a warm-up patch (or the node would not have started), the spool
/// can be written, and no shutdown has begun.
#[utoipa::path(
    get,
    path = "/readyz",
    responses(
        (status = 200, description = "They can", body = String),
        (status = 503, description = "Not now", body = Told),
    ),
)]
pub(super) async fn ready(State(node): State<Arc<Node>>) -> Result<&'static str, HttpError> {
    let not = |why: &str| Err(HttpError::new(StatusCode::SERVICE_UNAVAILABLE, why));
    if node.stop.is_cancelled() {
        return not("the node is shutting down");
    }
    if node.spool.is_damaged() {
        return not("the spool's file is damaged");
    }
    if let Err(error) = node.spool.probe().await {
        tracing::warn!(%error, "not ready");
        return not("the spool cannot be written");
    }
    Ok("ready\n")
}

/// Metrics, in the text format of Prometheus, or as OpenMetrics where `Accept` prefers that.
#[utoipa::path(
    get,
    path = "/metrics",
    responses((status = 200, description = "All series", content((String = "text/plain"), (String = "application/openmetrics-text")))),
)]
pub(super) async fn metrics(
    State(node): State<Arc<Node>>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
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
    Ok(daemon::metrics::answer(&headers, text))
}
