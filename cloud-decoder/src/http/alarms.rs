//! `GET /api/v1/alarms`, `POST /api/v1/alarms/{id}/acknowledge` and `GET /api/v1/traffic`.

use axum::{
    Extension, Json,
    extract::{Path, State},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    app::App,
    authentication::Viewer,
    error::{ApiError, ErrorBody},
    query::{Params, camera, limit, within},
};
use crate::{
    alarm::{Alarm, AlarmKind},
    clock::{DAY_MS, now_ms},
    store::catalogue::{AlarmPage, TrafficBy, TrafficLine, TrafficSpan},
};

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 500;
/// Default and largest number of days; older bytes are deleted.
const DEFAULT_DAYS: u32 = 7;
const MAX_DAYS: u32 = 92;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AlarmQuery {
    /// Only ongoing alarms, or only ended ones.
    standing: Option<bool>,
    #[param(inline)]
    kind: Option<AlarmKind>,
    camera: Option<String>,
    limit: Option<u32>,
    before: Option<i64>,
}

/// A page of alarms.
#[derive(Serialize, ToSchema)]
pub(super) struct AlarmList {
    alarms: Vec<Alarm>,
    /// The `before` of the next page, null on the last.
    next: Option<i64>,
}

/// Alarms, newest first. An ongoing one has no end.
#[utoipa::path(
    get,
    path = "/api/v1/alarms",
    params(AlarmQuery),
    responses(
        (status = 200, description = "A page", body = AlarmList),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
    ),
)]
pub(super) async fn list(
    State(app): State<App>,
    Params(query): Params<AlarmQuery>,
) -> Result<Json<AlarmList>, ApiError> {
    let limit = limit(query.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let page = AlarmPage {
        standing: query.standing,
        kind: query.kind,
        camera: camera(query.camera)?,
        before: query.before,
        limit: limit + 1,
    };
    let mut alarms = app.store.watchlist().alarms(&page).await?;
    let more = alarms.len() > limit as usize;
    alarms.truncate(limit as usize);
    let next = alarms.last().filter(|_| more).map(|alarm| alarm.id);
    Ok(Json(AlarmList { alarms, next }))
}

/// Notes that somebody has seen an alarm. A changed scene is accepted by this: it becomes usual, and the alarm ends
/// within seconds. A silent camera's alarm lasts until the camera sends again.
#[utoipa::path(
    post,
    path = "/api/v1/alarms/{id}/acknowledge",
    params(("id" = i64, Path, description = "The alarm")),
    responses(
        (status = 200, description = "The alarm", body = Alarm),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
        (status = 404, description = "No such ongoing alarm", body = ErrorBody),
    ),
)]
pub(super) async fn acknowledge(
    State(app): State<App>,
    Extension(viewer): Extension<Viewer>,
    Path(id): Path<String>,
) -> Result<Json<Alarm>, ApiError> {
    let id = id.parse();
    let id = id.map_err(|_| ApiError::bad_request("an alarm id is a whole number"))?;
    let alarm = app
        .store
        .watchlist()
        .acknowledge(id, viewer.name(), now_ms())
        .await?;
    let alarm = alarm.ok_or_else(|| ApiError::not_found(format!("no alarm {id} stands")))?;
    tracing::info!(
        alarm = id,
        by = viewer.name(),
        camera = alarm.camera,
        "alarm acknowledged"
    );
    Ok(Json(alarm))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TrafficQuery {
    /// Days up to today, in UTC.
    days: Option<u32>,
    #[param(inline)]
    by: Option<TrafficBy>,
    camera: Option<String>,
    node: Option<String>,
}

/// Bytes by day, node or camera.
#[derive(Serialize, ToSchema)]
pub(super) struct TrafficList {
    days: u32,
    lines: Vec<TrafficLine>,
}

/// Bytes that cameras sent to their edge nodes, and that edge nodes sent to this service, by kind, without HTTP/2, TLS
/// and TCP.
#[utoipa::path(
    get,
    path = "/api/v1/traffic",
    params(TrafficQuery),
    responses(
        (status = 200, description = "Bytes, in the order of names", body = TrafficList),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
    ),
)]
pub(super) async fn traffic(
    State(app): State<App>,
    Params(query): Params<TrafficQuery>,
) -> Result<Json<TrafficList>, ApiError> {
    let days = within("days", query.days.unwrap_or(DEFAULT_DAYS), MAX_DAYS)?;
    let span = TrafficSpan {
        from_day: now_ms() / DAY_MS - i64::from(days) + 1,
        camera: camera(query.camera)?,
        node: camera(query.node)?,
        by: query.by.unwrap_or_default(),
    };
    let mut lines = app.store.watchlist().traffic(&span).await?;
    if span.by == TrafficBy::Day {
        for line in &mut lines {
            line.name = date(line.name.parse().unwrap_or_default());
        }
    }
    Ok(Json(TrafficList { days, lines }))
}

/// The day as YYYY-MM-DD.
fn date(day: i64) -> String {
    let date = chrono::DateTime::from_timestamp_millis(day.saturating_mul(DAY_MS));
    date.map(|date| date.format("%Y-%m-%d").to_string())
        .unwrap_or_default()
}
