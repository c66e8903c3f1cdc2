//! `GET /api/v1/cameras`, `/api/v1/summary` and `/api/v1/retention`.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::{
    app::App,
    decoder_info::DecoderInfo,
    error::{ApiError, ErrorBody},
    query::{Params, limit},
};
use crate::{
    clock::DAY_MS,
    config::Retention,
    maintenance::bounds,
    store::catalogue::{AlarmPage, Bytes, Camera, Kept, TrafficSpan},
};

/// A camera is live when a frame of it arrived this recently, in milliseconds.
const LIVE_MS: i64 = 60_000;
/// Most cameras of a page.
const MAX_CAMERAS: u32 = 500;
/// Most alarms that are counted.
const MAX_ALARMS: u32 = 10_000;
/// Days of bytes in the summary.
const TRAFFIC_DAYS: u32 = 7;

#[derive(Serialize, ToSchema)]
pub(super) struct CameraJson {
    /// Whether a frame came within the last minute.
    live: bool,
    #[serde(flatten)]
    camera: Camera,
}

/// A page of cameras.
#[derive(Serialize, ToSchema)]
pub(super) struct Cameras {
    cameras: Vec<CameraJson>,
    /// Cameras in all.
    total: u64,
    /// The `offset` of the next page, null on the last.
    next: Option<u32>,
}

/// Names of all cameras.
#[derive(Serialize, ToSchema)]
pub(super) struct CameraNames {
    names: Vec<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CamerasQuery {
    limit: Option<u32>,
    /// Cameras to leave out at the beginning.
    offset: Option<u32>,
}

/// The frames that are kept, and those that a policy would remove.
#[derive(Serialize, ToSchema)]
pub(super) struct RetentionJson {
    policy: Retention,
    kept: Kept,
    due: Kept,
}

/// Totals over all cameras.
#[derive(Serialize, ToSchema)]
pub(super) struct Summary {
    /// Version of this binary.
    version: &'static str,
    /// The main decoder.
    decoder: DecoderInfo,
    /// All of them.
    decoders: Vec<DecoderInfo>,
    frames: u64,
    decoded: u64,
    labelled: u64,
    failed: u64,
    /// Waiting for the decoder.
    queued: u64,
    /// Arrival of the frame that has waited longest, milliseconds since the Unix epoch.
    queued_since_ms: Option<i64>,
    cameras: u64,
    /// Cameras that sent a frame within `live_ms`.
    cameras_live: u64,
    /// Cameras with latents that sent too few frames to know their usual scene.
    cameras_learning: u64,
    live_ms: i64,
    mean_bpp: Option<f64>,
    mean_psnr_db: Option<f64>,
    /// Ongoing alarms.
    alarms: u64,
    /// When the certificate of this service expires, if that is within 14 days or past, milliseconds since the Unix
    /// epoch.
    certificate_expires_ms: Option<i64>,
    /// Days over which `traffic` goes, today included, in UTC.
    traffic_days: u32,
    traffic: Bytes,
    /// Share of the cameras' bytes that was saved on the uplink over the same days: negative when the uplink carried
    /// more, null when an edge node does not report them.
    saved: Option<f64>,
}

/// Cameras, most urgent first: silent ones, ones of which no frame could be decoded, ones whose scene has changed, the
/// rest; each by name.
#[utoipa::path(
    get,
    path = "/api/v1/cameras",
    params(CamerasQuery),
    responses(
        (status = 200, description = "A page", body = Cameras),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
    ),
)]
pub(super) async fn cameras(
    State(app): State<App>,
    Params(query): Params<CamerasQuery>,
) -> Result<Json<Cameras>, ApiError> {
    let limit = limit(query.limit, MAX_CAMERAS, MAX_CAMERAS)?;
    let offset = query.offset.unwrap_or(0);
    let oldest = app.store.catalogue().now_ms().await? - LIVE_MS;
    let total = app.store.catalogue().totals(oldest).await?.cameras as u64;
    let cameras: Vec<_> = app
        .store
        .catalogue()
        .cameras(limit, offset)
        .await?
        .into_iter()
        .map(|camera| CameraJson {
            live: camera.last_received_ms >= oldest,
            camera,
        })
        .collect();
    let end = offset.saturating_add(limit);
    let next = (cameras.len() == limit as usize && u64::from(end) < total).then_some(end);
    Ok(Json(Cameras {
        cameras,
        total,
        next,
    }))
}

/// The names of all cameras, in their order.
#[utoipa::path(
    get,
    path = "/api/v1/cameras/names",
    responses(
        (status = 200, description = "All names, up to 100,000", body = CameraNames),
    ),
)]
pub(super) async fn camera_names(State(app): State<App>) -> Result<Json<CameraNames>, ApiError> {
    let watched = app.store.watchlist().watched().await?.into_iter();
    let names = watched.map(|watched| watched.camera_id).collect();
    Ok(Json(CameraNames { names }))
}

/// Totals over all cameras, the queue, the decoder and the service itself.
#[utoipa::path(
    get,
    path = "/api/v1/summary",
    responses(
        (status = 200, description = "Totals", body = Summary),
    ),
)]
pub(super) async fn summary(State(app): State<App>) -> Result<Json<Summary>, ApiError> {
    let now = app.store.catalogue().now_ms().await?;
    let totals = app.store.catalogue().totals(now - LIVE_MS).await?;
    let standing = AlarmPage::standing(MAX_ALARMS);
    let span = TrafficSpan {
        from_day: now / DAY_MS - i64::from(TRAFFIC_DAYS) + 1,
        ..TrafficSpan::default()
    };
    let lines = app.store.watchlist().traffic(&span).await?;
    let traffic = lines
        .iter()
        .map(|line| line.bytes)
        .fold(Bytes::default(), Bytes::plus);
    let ratio = |part: f64, whole: i64| (whole > 0).then(|| part / whole as f64);
    Ok(Json(Summary {
        version: env!("CARGO_PKG_VERSION"),
        decoder: app.decoder.clone(),
        decoders: app.decoders.to_vec(),
        frames: totals.frames as u64,
        decoded: totals.decoded as u64,
        labelled: totals.labelled as u64,
        failed: totals.failed as u64,
        queued: app.store.catalogue().queued().await?,
        queued_since_ms: app.store.catalogue().queued_since().await?,
        cameras: totals.cameras as u64,
        cameras_live: totals.cameras_live as u64,
        cameras_learning: totals.cameras_learning as u64,
        live_ms: LIVE_MS,
        mean_bpp: ratio(totals.latent_bits as f64, totals.pixels),
        mean_psnr_db: ratio(totals.psnr_sum, totals.measured),
        alarms: app.store.watchlist().alarms(&standing).await?.len() as u64,
        certificate_expires_ms: app.certificate.expires_soon_ms(),
        traffic_days: TRAFFIC_DAYS,
        saved: ratio(traffic.uplink() as f64, traffic.source_bytes)
            .filter(|_| traffic.told_frames == traffic.frames)
            .map(|share| 1.0 - share),
        traffic,
    }))
}

/// The frames that are kept, and those that a policy would remove now: the service's own, or the one in the query.
/// Nothing is removed.
#[utoipa::path(
    get,
    path = "/api/v1/retention",
    params(RetentionQuery),
    responses(
        (status = 200, description = "Frames kept, and frames that would be removed", body = RetentionJson),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
    ),
)]
pub(super) async fn retention(
    State(app): State<App>,
    Params(query): Params<RetentionQuery>,
) -> Result<Json<Value>, ApiError> {
    let policy = match (query.max_age_s, query.max_bytes) {
        (None, None) => app.retention,
        (max_age_s, max_bytes) => Retention {
            max_age_s,
            max_bytes,
        },
    };
    let checked = policy.check();
    checked.map_err(|error| ApiError::bad_request(error.to_string()))?;
    let kept = app.store.catalogue().kept().await?;
    let (before_ms, excess) = bounds(&policy, kept, app.store.catalogue().now_ms().await?);
    let due = app.store.catalogue().due(before_ms, excess).await?;
    Ok(Json(json!(RetentionJson { policy, kept, due })))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RetentionQuery {
    max_age_s: Option<u64>,
    max_bytes: Option<u64>,
}
