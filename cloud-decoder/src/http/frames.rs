//! `GET /api/v1/frames` and `/api/v1/frames/{id}`.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    app::App,
    error::{ApiError, ErrorBody},
    frame_json::FrameJson,
    query::{FrameId, Params, camera, find, frame_id, limit},
};
use crate::{
    frame::FrameState,
    store::catalogue::{LikeliestClass, Page},
};

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 500;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    camera: Option<String>,
    #[param(inline)]
    state: Option<FrameState>,
    limit: Option<u32>,
    before: Option<String>,
}

/// A page of frames.
#[derive(Serialize, ToSchema)]
pub(super) struct FramesPage<'a> {
    frames: Vec<FrameJson<'a>>,
    /// The `before` of the next page, null on the last.
    next: Option<Uuid>,
}

/// A page of labels.
#[derive(Serialize, ToSchema)]
pub(super) struct LabelsPage {
    labels: Vec<LikeliestClass>,
    /// Classes of the program that made the newest of these labels, up to 16.
    classes: Vec<String>,
    /// The `before` of the next page, null on the last.
    next: Option<Uuid>,
}

/// Newest arrival first; `next` is the `before` of the next page, null on the last.
#[utoipa::path(
    get,
    path = "/api/v1/frames",
    params(ListQuery),
    responses(
        (status = 200, description = "A page", body = FramesPage<'_>),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
    ),
)]
pub(super) async fn list(
    State(app): State<App>,
    Params(query): Params<ListQuery>,
) -> Result<Json<Value>, ApiError> {
    let page = page(query)?;
    let frames = app.store.catalogue().list(&page).await?;
    let (frames, next) = cut(frames, page.limit, |frame| frame.new.id)?;
    let frames: Vec<_> = frames.iter().map(FrameJson::from).collect();
    Ok(Json(json!(FramesPage { frames, next })))
}

/// The likeliest class of labelled frames, newest arrival first; `next` as for frames.
#[utoipa::path(
    get,
    path = "/api/v1/labels",
    params(ListQuery),
    responses(
        (status = 200, description = "A page", body = LabelsPage),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
    ),
)]
pub(super) async fn labels(
    State(app): State<App>,
    Params(query): Params<ListQuery>,
) -> Result<Json<Value>, ApiError> {
    let page = page(query)?;
    let labels = app.store.catalogue().labels(&page).await?;
    let (labels, next) = cut(labels, page.limit, |seen| seen.frame)?;
    let newest = match labels.first() {
        Some(seen) => app.store.catalogue().get(seen.frame).await?,
        None => None,
    };
    let scores = newest
        .and_then(|frame| frame.new.label)
        .map(|label| label.scores);
    let mut classes: Vec<_> = scores
        .into_iter()
        .flatten()
        .map(|score| score.label)
        .collect();
    classes.sort();
    Ok(Json(json!(LabelsPage {
        labels,
        classes,
        next
    })))
}

/// One more than requested, which shows whether a page follows.
fn page(query: ListQuery) -> Result<Page, ApiError> {
    Ok(Page {
        camera: camera(query.camera)?,
        state: query.state,
        before: query.before.as_deref().map(frame_id).transpose()?,
        limit: limit(query.limit, DEFAULT_LIMIT, MAX_LIMIT)? + 1,
    })
}

/// A page without the additional frame, and the `before` of the next page.
fn cut<T>(
    page: Option<Vec<T>>,
    limit: u32,
    id: impl Fn(&T) -> Uuid,
) -> Result<(Vec<T>, Option<Uuid>), ApiError> {
    let missing = || ApiError::bad_request("before is not the id of a stored frame");
    let mut page = page.ok_or_else(missing)?;
    let more = page.len() >= limit as usize;
    page.truncate(limit as usize - 1);
    let next = page.last().filter(|_| more).map(id);
    Ok((page, next))
}

/// One frame's record.
#[utoipa::path(
    get,
    path = "/api/v1/frames/{id}",
    params(("id" = Uuid, Path, description = "The frame")),
    responses(
        (status = 200, description = "Record of the frame", body = FrameJson<'_>),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
        (status = 404, description = "Not found", body = ErrorBody),
    ),
)]
pub(super) async fn one(
    State(app): State<App>,
    FrameId(id): FrameId,
) -> Result<Json<Value>, ApiError> {
    let frame = find(&app, id).await?;
    let mut record = FrameJson::from(&frame);
    record.queue = app.store.catalogue().queue_position(id).await?;
    Ok(Json(json!(record)))
}

/// Decodes a decoded or failed frame once more.
#[utoipa::path(
    post,
    path = "/api/v1/frames/{id}/retry",
    params(("id" = Uuid, Path, description = "The frame")),
    responses(
        (status = 202, description = "Queued; record of the frame", body = FrameJson<'_>),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
        (status = 404, description = "Not found", body = ErrorBody),
        (status = 409, description = "There is nothing to decode, or the frame waits already", body = ErrorBody),
    ),
)]
pub(super) async fn retry(
    State(app): State<App>,
    FrameId(id): FrameId,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let frame = find(&app, id).await?;
    let Some(queued) = app.store.requeue(id).await? else {
        let sentence = match frame.state {
            FrameState::Labelled => "only a label was sent, there is nothing to decode",
            _ => "the frame waits for the decoder already",
        };
        return Err(ApiError::conflict(sentence));
    };
    app.metrics.requeued.inc();
    Ok((StatusCode::ACCEPTED, Json(json!(FrameJson::from(&queued)))))
}
