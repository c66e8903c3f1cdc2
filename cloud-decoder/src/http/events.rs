//! `GET /api/v1/events`: every change of a frame's record, as server-sent events.
//!
//! A `frame` event carries the record. A `reload` event tells a client that fell behind to read the
//! frames again.

use std::{convert::Infallible, time::Duration};

use axum::{
    Extension,
    extract::State,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use daemon::metrics::Raised;
use futures::StreamExt;
use tokio_stream::wrappers::BroadcastStream;

use super::{
    app::App,
    authentication::Viewer,
    error::{ApiError, ErrorBody},
    frame_json::FrameJson,
};

const KEEPALIVE: Duration = Duration::from_secs(15);

/// Every change of a frame, as server-sent events.
///
/// `ready` once, `frame` with the record for every change, `reload` after missed ones.
#[utoipa::path(
    get,
    path = "/api/v1/events",
    responses(
        (status = 200, description = "An endless stream", body = String, content_type = "text/event-stream"),
        (status = 503, description = "Too many streams are open", body = ErrorBody),
    ),
)]
pub(super) async fn events(
    State(app): State<App>,
    Extension(viewer): Extension<Viewer>,
) -> Result<Response, ApiError> {
    let Ok(slot) = app.watchers.clone().try_acquire_owned() else {
        return Err(ApiError::unavailable("too many event streams are open"));
    };
    let held = (slot, Raised::new(&app.metrics.watchers));
    let changes = BroadcastStream::new(app.store.subscribe());
    let events = changes
        .map(move |change| {
            let _held = &held;
            let event = match change {
                Ok(Some(frame)) => Event::default()
                    .event("frame")
                    .json_data(FrameJson::from(&*frame))
                    .unwrap_or_else(|_| Event::default().event("reload").data("unreadable record")),
                Ok(None) | Err(_) => Event::default().event("reload").data("fell behind"),
            };
            Ok::<_, Infallible>(event)
        })
        .take_until(app.shutdown.clone().cancelled_owned())
        .take_until(Box::pin(app.authentication.clone().ended(viewer)));
    // No change is missed after this event. Browsers drop events without data.
    let hello = futures::stream::once(async { Ok(Event::default().event("ready").data("live")) });
    let stream = Sse::new(hello.chain(events)).keep_alive(KeepAlive::new().interval(KEEPALIVE));
    // nginx would buffer events.
    Ok(([("x-accel-buffering", "no")], stream).into_response())
}
