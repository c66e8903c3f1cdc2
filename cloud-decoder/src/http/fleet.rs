//! The fleet over time: `GET /api/v1/nodes`, `/api/v1/history` and `/api/v1/drift`.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::{
    app::App,
    error::{ApiError, ErrorBody},
    query::{Params, camera, within},
};
use crate::{
    alarm::AlarmKind,
    analysis::DriftJson,
    clock::now_ms,
    cluster::NodeJson,
    store::catalogue::{AlarmPage, History, Lines, Span},
};

const DEFAULT_POINTS: u32 = 200;
const MAX_POINTS: u32 = 1000;
/// Most cameras of one answer, the worst.
const MAX_JUDGED: u32 = 100;
/// The last millisecond of the year 9999.
const MAX_MS: i64 = 253_402_300_799_999;

/// Edge nodes.
#[derive(Serialize, ToSchema)]
pub(super) struct NodeList {
    nodes: Vec<NodeJson>,
}

/// One judgement per camera.
#[derive(Serialize, ToSchema)]
pub(super) struct DriftList {
    cameras: Vec<DriftJson>,
}

/// Edge nodes by name.
#[utoipa::path(
    get,
    path = "/api/v1/nodes",
    responses(
        (status = 200, description = "All nodes", body = NodeList),
    ),
)]
pub(super) async fn nodes(State(app): State<App>) -> Json<Value> {
    Json(json!(NodeList {
        nodes: app.nodes.list()
    }))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    from_ms: Option<i64>,
    to_ms: Option<i64>,
    points: Option<u32>,
    #[param(inline)]
    lines: Option<Lines>,
    camera: Option<String>,
    program: Option<String>,
}

/// Means over time, one line per camera or program.
#[utoipa::path(
    get,
    path = "/api/v1/history",
    params(HistoryQuery),
    responses(
        (status = 200, description = "Lines", body = History),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
    ),
)]
pub(super) async fn history(
    State(app): State<App>,
    Params(query): Params<HistoryQuery>,
) -> Result<Json<History>, ApiError> {
    let to_ms = query.to_ms.unwrap_or_else(|| now_ms() + 1);
    let from_ms = query.from_ms.unwrap_or(0);
    if !(0..=MAX_MS).contains(&from_ms) || !(from_ms..=MAX_MS).contains(&to_ms) {
        return Err(ApiError::bad_request(format!(
            "from_ms {from_ms} and to_ms {to_ms} are not in this order from 0 to {MAX_MS}"
        )));
    }
    let span = Span {
        from_ms: query.from_ms,
        to_ms,
        points: within("points", query.points.unwrap_or(DEFAULT_POINTS), MAX_POINTS)?,
        lines: query.lines.unwrap_or_default(),
        camera: camera(query.camera)?,
        program: query.program.as_deref().map(program).transpose()?,
    };
    Ok(Json(app.store.catalogue().history(&span).await?))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DriftQuery {
    camera: Option<String>,
}

/// Scene changes of one camera, or of the first hundred, changed ones first.
#[utoipa::path(
    get,
    path = "/api/v1/drift",
    params(DriftQuery),
    responses(
        (status = 200, description = "One judgement per camera", body = DriftList),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
    ),
)]
pub(super) async fn drift(
    State(app): State<App>,
    Params(query): Params<DriftQuery>,
) -> Result<Json<Value>, ApiError> {
    let cameras = match camera(query.camera)? {
        Some(camera) => vec![camera],
        None => {
            let cameras = app
                .store
                .catalogue()
                .cameras(MAX_JUDGED, 0)
                .await?
                .into_iter();
            let with_latents = cameras.filter(|c| c.latent_bits > 0);
            with_latents.map(|c| c.camera).collect()
        }
    };
    let mut judged = Vec::with_capacity(cameras.len());
    for camera in cameras {
        let model = app.store.watchlist().model(&camera).await?;
        let newest_first = app
            .store
            .catalogue()
            .latents(&camera, DriftJson::FRAMES)
            .await?;
        let standing = AlarmPage {
            kind: Some(AlarmKind::Drift),
            camera: Some(camera.clone()),
            ..AlarmPage::standing(1)
        };
        let alarm = app.store.watchlist().alarms(&standing).await?.pop();
        judged.push(DriftJson::new(
            camera,
            model.as_deref(),
            &newest_first,
            alarm,
        ));
    }
    Ok(Json(json!(DriftList { cameras: judged })))
}

fn program(id: &str) -> Result<[u8; 32], ApiError> {
    let mut bytes = [0; 32];
    match hex::decode_to_slice(id, &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_) => Err(ApiError::bad_request(
            "a program id is 64 hexadecimal digits",
        )),
    }
}
