//! A frame's latents, from which anyone can rebuild its picture.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{
    app::App,
    error::{ApiError, ErrorBody},
    images::{caching, known},
    query::{FrameId, find},
};

/// The latent container that the edge node sent.
#[utoipa::path(
    get,
    path = "/api/v1/frames/{id}/latents.pwl",
    params(("id" = Uuid, Path, description = "The frame")),
    responses(
        (status = 200, description = "The container", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
        (status = 404, description = "Not found", body = ErrorBody),
    ),
)]
pub(super) async fn latents(
    State(app): State<App>,
    FrameId(id): FrameId,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let frame = find(&app, id).await?;
    if frame.new.latent_bits == 0 {
        return Err(ApiError::not_found(format!(
            "frame {id} came with a label only"
        )));
    }
    let caching = caching(&format!("{id}-latents"));
    if known(&headers, &caching) {
        return Ok((StatusCode::NOT_MODIFIED, caching).into_response());
    }
    let stored = app.store.read_stored(id).await?;
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    Ok((caching, kind, stored.latents).into_response())
}
