//! Frames in, and what became of them.

use std::{sync::Arc, time::Instant};

use axum::{
    Json,
    extract::{Path, Query, Request, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use daemon::{
    boot::SPANS,
    forwarded::client,
    metrics::Raised,
    trace::{self, TRACEPARENT},
};
use patchwire_proto::limits::{MAX_SIDE, check_id};
use serde::{Deserialize, Serialize};
use tracing::{Instrument as _, Span, field::Empty, info_span};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::error::{HttpError, Told};
use crate::{
    encode::{Score, Task},
    metrics::TaskKind,
    node::{Node, Submission},
    spool::FrameState,
};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Params {
    /// 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
    #[param(required = true, example = "gate")]
    camera: Option<String>,
    /// `compress` (the default), `classify` or `both`.
    task: Option<String>,
}

/// The answer to an accepted frame.
#[derive(Serialize, ToSchema)]
pub(super) struct Accepted {
    frame_id: Uuid,
    camera: String,
    task: Task,
    width: u32,
    height: u32,
    /// Patches that travel; 0 when the task was only to classify.
    patches: u64,
    /// Fewer than the program's when rate is shed; 0 as above.
    bits_per_patch: u32,
    /// Bits of latents, container overhead excluded.
    bits: u64,
    bits_per_pixel: f64,
    /// Id of the program that made the latents, or else the label.
    program: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scores: Option<Vec<Score>>,
    original_attached: bool,
    encode_ms: f64,
}

#[derive(Serialize, ToSchema)]
pub(super) struct FrameStatus {
    frame_id: Uuid,
    #[serde(flatten)]
    state: FrameState,
}

/// Takes a frame: encodes it and answers once it is on disk.
#[utoipa::path(
    post,
    path = "/v1/frames",
    params(
        Params,
        ("x-frame-width" = Option<u32>, Header, description = "Of raw RGB, in pixels"),
        ("x-frame-height" = Option<u32>, Header, description = "Of raw RGB, in pixels"),
        ("traceparent" = Option<String>, Header, description = "W3C trace that the frame becomes part of"),
    ),
    request_body(description = "One image, or raw RGB of 3 bytes a pixel", content(
        (Vec<u8> = "image/jpeg"), (Vec<u8> = "image/png"), (Vec<u8> = "image/webp"),
        (Vec<u8> = "image/x-portable-pixmap"), (Vec<u8> = "image/x-portable-anymap"),
        (Vec<u8> = "application/octet-stream"),
    )),
    responses(
        (status = 202, description = "The encoded frame is on disk", body = Accepted),
        (status = 400, description = "Bad parameters, or a damaged image", body = Told),
        (status = 408, description = "The body did not arrive in time, or too slowly", body = Told),
        (status = 413, description = "Too many bytes or pixels", body = Told),
        (status = 415, description = "The content-type is missing, not supported or not true, or there is a content-encoding", body = Told),
        (status = 429, description = "Too many frames, or bytes of them, at once; see Retry-After", body = Told),
        (status = 503, description = "The spool is full or locked; see Retry-After", body = Told),
    ),
)]
pub(super) async fn post(
    State(node): State<Arc<Node>>,
    params: Result<Query<Params>, QueryRejection>,
    request: Request,
) -> Response {
    let span = info_span!(
        target: SPANS, "accept frame", otel.kind = "server", frame = Empty, camera = Empty,
        http.response.status_code = Empty, otel.status_code = Empty,
    );
    let came = request.headers().get(TRACEPARENT);
    let came = came.and_then(|value| value.to_str().ok()).unwrap_or("");
    trace::continues(&span, came);
    // Without a collector of its own, the node hands on what came.
    let mut traceparent = trace::traceparent(&span);
    if traceparent.is_empty() && trace::is_traceparent(came) {
        traceparent = came.to_owned();
    }
    let accepted = accept(&node, params, request, traceparent);
    match accepted.instrument(span.clone()).await {
        Ok(accepted) => {
            let task = TaskKind::from(accepted.task);
            node.metrics.accepted.get_or_create(&task).inc();
            span.record("http.response.status_code", 202);
            let Accepted {
                frame_id, camera, ..
            } = &accepted;
            tracing::debug!(frame = %frame_id, camera, "frame accepted");
            (StatusCode::ACCEPTED, Json(accepted)).into_response()
        }
        Err(error) => {
            node.metrics.refused.get_or_create(&error.refusal()).inc();
            let response = error.into_response();
            let status = response.status();
            span.record("http.response.status_code", status.as_u16());
            if status.is_server_error() {
                span.record("otel.status_code", "ERROR");
            }
            response
        }
    }
}

async fn accept(
    node: &Arc<Node>,
    params: Result<Query<Params>, QueryRejection>,
    request: Request,
    traceparent: String,
) -> Result<Accepted, HttpError> {
    let Query(params) = params.map_err(|error| HttpError::bad_request(error.body_text()))?;
    let camera = params
        .camera
        .ok_or_else(|| HttpError::bad_request("camera is missing in the query"))?;
    check_id("camera", &camera).map_err(HttpError::bad_request)?;
    Span::current().record("camera", &camera);
    let task = task(params.task.as_deref())?;
    let content_type = text_header(request.headers(), header::CONTENT_TYPE.as_str())?;
    let raw_size = raw_size(request.headers())?;
    if let Some(coding) = daemon::http::compressed(request.headers()) {
        let sentence = format!("content-encoding {coding} is not taken, send the body as it is");
        return Err(HttpError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence));
    }
    if let Some(rates) = &node.camera_rates {
        let taken = rates.take(&camera, Instant::now());
        taken.map_err(|wait| HttpError::too_fast(&camera, wait))?;
    }
    let sender = client(
        request.extensions(),
        request.headers(),
        &node.config.http.trusted_proxies,
    );
    let admit = |body: Bytes| {
        // Held until the frame is stored, so that what is in memory is bounded.
        let permit = node.admit().ok_or_else(HttpError::overloaded)?;
        Ok((body, permit))
    };
    let reading = Raised::new(&node.metrics.bodies);
    let (body, permit) = node.bodies.read(request, sender, admit).await?;
    drop(reading);
    let submission = Submission {
        camera: camera.clone(),
        task,
        body,
        content_type,
        raw_size,
        traceparent,
        taken: None,
        permit,
    };
    let stored = Arc::clone(node).submit(submission).await?;
    let encoded = stored.encoded;
    let (latents, classified) = (&encoded.latents, encoded.classified);
    let program = latents.as_ref().map(|l| l.program);
    let program = program.or(classified.as_ref().map(|c| c.program));
    Ok(Accepted {
        frame_id: stored.frame_id,
        camera,
        task,
        width: stored.width,
        height: stored.height,
        patches: latents.as_ref().map_or(0, |l| l.patches()),
        bits_per_patch: latents.as_ref().map_or(0, |l| l.bits),
        bits: latents.as_ref().map_or(0, |l| l.total_bits()),
        bits_per_pixel: latents.as_ref().map_or(0.0, |l| l.bits_per_pixel()),
        program: program.map(hex::encode).unwrap_or_default(),
        label: classified
            .as_ref()
            .and_then(|c| c.scores.first())
            .map(|top| top.label.clone()),
        scores: classified.map(|c| c.scores),
        original_attached: stored.original_attached,
        encode_ms: encoded.elapsed_ns as f64 / 1e6,
    })
}

fn task(name: Option<&str>) -> Result<Task, HttpError> {
    match name {
        None | Some("compress") => Ok(Task::Compress),
        Some("classify") => Ok(Task::Classify),
        Some("both") => Ok(Task::Both),
        Some(other) => {
            let other: String = other.chars().take(40).collect();
            let allowed = "allowed are compress, classify and both";
            Err(HttpError::bad_request(format!(
                "task {other:?} is not known, {allowed}"
            )))
        }
    }
}

fn raw_size(headers: &HeaderMap) -> Result<Option<(u32, u32)>, HttpError> {
    let side = |name: &'static str| -> Result<Option<u32>, HttpError> {
        let Some(text) = text_header(headers, name)? else {
            return Ok(None);
        };
        let wrong =
            || HttpError::bad_request(format!("{name} is not a number from 1 to {MAX_SIDE}"));
        text.parse().map(Some).map_err(|_| wrong())
    };
    Ok(side("x-frame-width")?.zip(side("x-frame-height")?))
}

fn text_header(headers: &HeaderMap, name: &str) -> Result<Option<String>, HttpError> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let text = value
        .to_str()
        .map_err(|_| HttpError::bad_request(format!("header {name} is not plain text")))?;
    Ok(Some(text.to_owned()))
}

/// What became of a frame.
///
/// The last 4096 frames that left the spool are remembered.
#[utoipa::path(
    get,
    path = "/v1/frames/{id}",
    params(("id" = Uuid, Path, description = "The frame_id of the answer that took it")),
    responses(
        (status = 200, description = "Its state", body = FrameStatus),
        (status = 400, description = "The id is no UUID", body = Told),
        (status = 404, description = "Not known here, or left too long ago", body = Told),
    ),
)]
pub(super) async fn get(
    State(node): State<Arc<Node>>,
    Path(id): Path<String>,
) -> Result<Response, HttpError> {
    let frame_id =
        Uuid::try_parse(&id).map_err(|_| HttpError::bad_request("frame id is not a UUID"))?;
    match node.spool.state(frame_id).await? {
        Some(state) => Ok(Json(FrameStatus { frame_id, state }).into_response()),
        None => {
            let sentence = format!("frame {frame_id} is not known here, or left too long ago");
            Err(HttpError::new(StatusCode::NOT_FOUND, sentence))
        }
    }
}
