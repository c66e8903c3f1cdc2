//! Frames in, and their states.

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
    http_error::{ErrorBody, HttpError},
    metrics::Raised,
    trace::{self, TRACEPARENT},
};
use patchwire_proto::limits::{MAX_SIDE, check_id};
use serde::{Deserialize, Serialize};
use tracing::{Instrument as _, Span, field::Empty, info_span};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    error::{Refused, spool_error},
    state::App,
};
use crate::{
    pipeline::{Score, Submission},
    spool::FrameState,
    task::Task,
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
    /// Patches of the latents; 0 when the task was only to classify.
    patches: u64,
    /// Fewer than the program's while the spool fills; 0 as above.
    bits_per_patch: u32,
    /// Bits of the latents, without the container.
    bits: u64,
    bits_per_pixel: f64,
    /// Id of the program that made the latents, or else of the one that made the label.
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

/// Accepts a frame: encodes it and answers once it is on disk.
#[utoipa::path(
    post,
    path = "/v1/frames",
    params(
        Params,
        ("x-frame-width" = Option<u32>, Header, description = "Size of raw RGB in pixels"),
        ("x-frame-height" = Option<u32>, Header, description = "Size of raw RGB in pixels"),
        ("traceparent" = Option<String>, Header, description = "W3C trace that the frame becomes part of"),
    ),
    request_body(description = "One image, or raw RGB with 3 bytes per pixel", content(
        (Vec<u8> = "image/jpeg"), (Vec<u8> = "image/png"), (Vec<u8> = "image/webp"),
        (Vec<u8> = "image/x-portable-pixmap"), (Vec<u8> = "image/x-portable-anymap"),
        (Vec<u8> = "application/octet-stream"),
    )),
    responses(
        (status = 202, description = "The encoded frame is on disk", body = Accepted),
        (status = 400, description = "Bad parameters, or a damaged image", body = ErrorBody),
        (status = 408, description = "The body did not arrive in time, or too slowly", body = ErrorBody),
        (status = 413, description = "Too many bytes or pixels", body = ErrorBody),
        (status = 415, description = "The content-type is missing, not supported or wrong, or there is a content-encoding", body = ErrorBody),
        (status = 429, description = "Too many frames, or bytes of them, at once; see Retry-After", body = ErrorBody),
        (status = 503, description = "The spool is full or locked; see Retry-After", body = ErrorBody),
    ),
)]
pub(super) async fn post(
    State(app): State<Arc<App>>,
    params: Result<Query<Params>, QueryRejection>,
    request: Request,
) -> Response {
    let span = info_span!(
        target: SPANS, "accept frame", otel.kind = "server", frame = Empty, camera = Empty,
        http.response.status_code = Empty, otel.status_code = Empty,
    );
    let given = request.headers().get(TRACEPARENT);
    let given = given.and_then(|value| value.to_str().ok()).unwrap_or("");
    trace::continues(&span, given);
    // Without a collector of its own, the node passes on the traceparent that came.
    let mut traceparent = trace::traceparent(&span);
    if traceparent.is_empty() && trace::is_traceparent(given) {
        traceparent = given.to_owned();
    }
    let accepted = accept(&app, params, request, traceparent);
    match accepted.instrument(span.clone()).await {
        Ok(accepted) => {
            app.metrics.accepted.get_or_create(&accepted.task).inc();
            span.record("http.response.status_code", 202);
            let Accepted {
                frame_id, camera, ..
            } = &accepted;
            tracing::debug!(frame = %frame_id, camera, "frame accepted");
            (StatusCode::ACCEPTED, Json(accepted)).into_response()
        }
        Err(refused) => {
            app.metrics.refused.get_or_create(&refused.reason).inc();
            let response = refused.error.into_response();
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
    app: &App,
    params: Result<Query<Params>, QueryRejection>,
    request: Request,
    traceparent: String,
) -> Result<Accepted, Refused> {
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
        return Err(HttpError::content_encoding(&coding).into());
    }
    if let Some(rates) = &app.camera_rates {
        let taken = rates.take(&camera, Instant::now());
        taken.map_err(|wait| Refused::camera_rate(&camera, wait))?;
    }
    let sender = client(
        request.extensions(),
        request.headers(),
        &app.config.http.trusted_proxies,
    );
    let admit = |body: Bytes| {
        // Held until the frame is stored, so that memory is bounded.
        let permit = app.pipeline.admission.try_admit();
        let sentence = "too many frames are being handled, try again later";
        Ok((body, permit.ok_or_else(|| Refused::overloaded(sentence))?))
    };
    let reading = Raised::new(&app.metrics.bodies);
    let (body, permit) = app.bodies.read(request, sender, admit).await?;
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
    let stored = Arc::clone(&app.pipeline).submit(submission).await?;
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

/// State of a frame.
///
/// The last 4096 frames that left the spool are remembered.
#[utoipa::path(
    get,
    path = "/v1/frames/{id}",
    params(("id" = Uuid, Path, description = "The frame_id of the answer that took it")),
    responses(
        (status = 200, description = "State of the frame", body = FrameStatus),
        (status = 400, description = "The id is not a UUID", body = ErrorBody),
        (status = 404, description = "Unknown, or left the node too long ago", body = ErrorBody),
    ),
)]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Response, HttpError> {
    let frame_id =
        Uuid::try_parse(&id).map_err(|_| HttpError::bad_request("frame id is not a UUID"))?;
    match app.spool.state(frame_id).await.map_err(spool_error)? {
        Some(state) => Ok(Json(FrameStatus { frame_id, state }).into_response()),
        None => {
            let sentence = format!("frame {frame_id} is unknown, or left the node too long ago");
            Err(HttpError::not_found(sentence))
        }
    }
}
