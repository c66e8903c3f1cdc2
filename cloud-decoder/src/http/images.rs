//! A frame's images. One of them only changes when another decoder rebuilds the frame, so browsers may keep them.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use uuid::Uuid;

use super::{
    app::App,
    error::{ApiError, ErrorBody},
    query::{FrameId, find},
};
use crate::{
    frame::{Frame, FrameState},
    store::objects::Kind,
};

const IMMUTABLE: &str = "private, max-age=31536000, immutable";

/// Header with the id of the decoder that made a picture.
const DECODER: HeaderName = HeaderName::from_static("x-decoder-id");

/// The rebuilt frame. The file and the header `x-decoder-id` name the decoder that made it, except for a picture of an
/// earlier decoder, from before its id was kept.
#[utoipa::path(
    get,
    path = "/api/v1/frames/{id}/reconstruction.png",
    params(("id" = Uuid, Path, description = "The frame")),
    responses(
        (
            status = 200,
            description = "The image",
            body = Vec<u8>,
            content_type = "image/png",
            headers(("x-decoder-id" = String, description = "SHA-256 of the decoder's file")),
        ),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
        (status = 404, description = "Not found", body = ErrorBody),
    ),
)]
pub(super) async fn reconstruction(
    State(app): State<App>,
    FrameId(id): FrameId,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    rebuilt(&app, id, Kind::Reconstruction, "image/png", &headers).await
}

/// A small version of the rebuilt frame.
#[utoipa::path(
    get,
    path = "/api/v1/frames/{id}/thumbnail.jpg",
    params(("id" = Uuid, Path, description = "The frame")),
    responses(
        (status = 200, description = "The image", body = Vec<u8>, content_type = "image/jpeg"),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
        (status = 404, description = "Not found", body = ErrorBody),
    ),
)]
pub(super) async fn thumbnail(
    State(app): State<App>,
    FrameId(id): FrameId,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    rebuilt(&app, id, Kind::Thumbnail, "image/jpeg", &headers).await
}

/// The original, if the frame has one.
#[utoipa::path(
    get,
    path = "/api/v1/frames/{id}/original",
    params(("id" = Uuid, Path, description = "The frame")),
    responses(
        (status = 200, description = "The image", body = Vec<u8>, content_type = "image/png"),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
        (status = 404, description = "Not found", body = ErrorBody),
    ),
)]
pub(super) async fn original(
    State(app): State<App>,
    FrameId(id): FrameId,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let frame = find(&app, id).await?;
    let Some(media_type) = &frame.new.original_type else {
        return Err(ApiError::not_found(format!(
            "frame {} came without an original",
            frame.new.id
        )));
    };
    image(&app, &frame, Kind::Original, media_type, &headers).await
}

/// An image that is made when the frame is decoded.
async fn rebuilt(
    app: &App,
    id: Uuid,
    kind: Kind,
    media_type: &str,
    request: &HeaderMap,
) -> Result<Response, ApiError> {
    let frame = find(app, id).await?;
    let missing = match frame.state {
        FrameState::Decoded => return image(app, &frame, kind, media_type, request).await,
        FrameState::Queued => format!("frame {id} is not decoded yet"),
        FrameState::Labelled => format!("frame {id} came with a label only"),
        FrameState::Failed => format!("frame {id} could not be decoded: {}", frame.failure),
    };
    Err(ApiError::not_found(missing))
}

async fn image(
    app: &App,
    frame: &Frame,
    kind: Kind,
    media_type: &str,
    request: &HeaderMap,
) -> Result<Response, ApiError> {
    let id = frame.new.id;
    let decoder = match kind {
        Kind::Original => None,
        _ => frame.decoder_id.map(hex::encode),
    };
    let of = decoder.as_deref().unwrap_or_default();
    let caching = caching(&format!("{id}-{kind:?}{of}"));
    if known(request, &caching) {
        return Ok((StatusCode::NOT_MODIFIED, caching).into_response());
    }
    let Some(object) = app.store.open_object(kind, id).await? else {
        return Err(ApiError::not_found(format!(
            "the image of frame {id} is gone"
        )));
    };
    let content = [
        (header::CONTENT_TYPE, media_type.to_owned()),
        (header::CONTENT_LENGTH, object.length.to_string()),
    ];
    let decoder = decoder.map(|id| [(DECODER, id)]);
    Ok((caching, content, decoder, Body::from_stream(object.pieces)).into_response())
}

/// `Cache-Control` and `ETag` of an answer that never changes.
pub(super) type Caching = [(header::HeaderName, String); 2];

/// Headers that let browsers keep an answer of this name.
pub(super) fn caching(name: &str) -> Caching {
    [
        (header::CACHE_CONTROL, IMMUTABLE.to_owned()),
        (header::ETAG, format!("\"{name}\"")),
    ]
}

/// Whether a browser has the answer already.
pub(super) fn known(request: &HeaderMap, [_, (_, etag)]: &Caching) -> bool {
    request
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|tags| tags == "*" || tags.contains(etag))
}
