//! The OpenAPI document.

use daemon::reference::Tokens;
use utoipa::OpenApi;

use super::{alarms, compare, events, fleet, frames, images, latents, probes, session, stats};

/// The HTTP API; the dashboard's files are not part of it.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "cloud-decoder",
        description = "Rebuilds full frames from encoded patches, keeps them, measures them, shows them. \
                       Errors are {\"error\": \"one sentence\"}."
    ),
    modifiers(&Tokens),
    paths(
        frames::list,
        frames::one,
        frames::retry,
        frames::labels,
        images::reconstruction,
        images::original,
        images::thumbnail,
        latents::latents,
        compare::patches,
        compare::same_size,
        stats::cameras,
        stats::camera_names,
        stats::summary,
        stats::retention,
        fleet::nodes,
        fleet::history,
        fleet::drift,
        alarms::list,
        alarms::acknowledge,
        alarms::traffic,
        events::events,
        session::session,
        session::login,
        session::logout,
        probes::livez,
        probes::readyz,
        probes::metrics,
    )
)]
pub(super) struct Document;

/// The API's routes.
pub(crate) fn routes() -> impl Iterator<Item = String> {
    Document::openapi().paths.paths.into_keys()
}
