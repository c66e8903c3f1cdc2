//! A frame's reconstruction beside its original: `/patches` and `/same-size.jpg`.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use quality::PATCH;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    app::App,
    error::{ApiError, ErrorBody},
    images::{caching, known},
    query::{FrameId, find},
};
use crate::{
    analysis::{MAX_COMPARED_PIXELS, Picture},
    frame::{Frame, FrameState},
    store::objects::Kind,
};

/// Errors of a frame's patches.
#[derive(Serialize, ToSchema)]
pub(super) struct PatchErrors {
    /// Side of a patch in pixels.
    side: u32,
    columns: u32,
    rows: u32,
    /// Mean squared error, row by row.
    mse: Vec<f32>,
}

/// Mean squared error of each patch, row by row.
#[utoipa::path(
    get,
    path = "/api/v1/frames/{id}/patches",
    params(("id" = Uuid, Path, description = "The frame")),
    responses(
        (status = 200, description = "Errors", body = PatchErrors),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
        (status = 404, description = "Not found", body = ErrorBody),
        (status = 422, description = "It is too large to be compared", body = ErrorBody),
    ),
)]
pub(super) async fn patches(
    State(app): State<App>,
    FrameId(id): FrameId,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let frame = find(&app, id).await?;
    if frame.state != FrameState::Decoded {
        return Err(ApiError::not_found(format!("frame {id} is not decoded")));
    }
    let original = original(&app, &frame).await?;
    let caching = caching(&format!("{id}-patches-{}", frame.work.finished_ms));
    if known(&headers, &caching) {
        return Ok((StatusCode::NOT_MODIFIED, caching).into_response());
    }
    let rebuilt = Picture {
        media_type: "image/png".to_owned(),
        data: object(&app, &frame, Kind::Reconstruction).await?,
    };
    let (width, height) = (frame.new.width, frame.new.height);
    let mse = app
        .comparisons
        .patches(original, rebuilt, (width, height))
        .await?;
    let body = PatchErrors {
        side: PATCH,
        columns: width.div_ceil(PATCH),
        rows: height.div_ceil(PATCH),
        mse,
    };
    Ok((caching, Json(body)).into_response())
}

/// The original as the best JPEG that takes no more bytes than the latents; its quality is in the headers.
#[utoipa::path(
    get,
    path = "/api/v1/frames/{id}/same-size.jpg",
    params(("id" = Uuid, Path, description = "The frame")),
    responses(
        (status = 200, description = "The JPEG", body = Vec<u8>, content_type = "image/jpeg"),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
        (status = 404, description = "Not found", body = ErrorBody),
        (status = 422, description = "It is too large to be compared", body = ErrorBody),
    ),
)]
pub(super) async fn same_size(
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
    let original = original(&app, &frame).await?;
    let caching = caching(&format!("{id}-same-size"));
    if known(&headers, &caching) {
        return Ok((StatusCode::NOT_MODIFIED, caching).into_response());
    }
    let bytes = usize::try_from(frame.new.latent_bits / 8).unwrap_or(usize::MAX);
    let size = (frame.new.width, frame.new.height);
    let made = app.comparisons.same_size(original, size, bytes).await?;
    let named = |name| HeaderName::from_static(name);
    let quality = made.measured;
    let facts = [
        (header::CONTENT_TYPE, "image/jpeg".to_owned()),
        (named("x-jpeg-quality"), made.quality.to_string()),
        (named("x-psnr-db"), format!("{:.4}", quality.psnr_db)),
        (named("x-ssim"), format!("{:.5}", quality.ssim)),
        (
            named("x-ms-ssim"),
            quality
                .ms_ssim
                .map(|v| format!("{v:.5}"))
                .unwrap_or_default(),
        ),
    ];
    Ok((caching, facts, made.jpeg).into_response())
}

async fn original(app: &App, frame: &Frame) -> Result<Picture, ApiError> {
    let id = frame.new.id;
    let Some(media_type) = frame.new.original_type.clone() else {
        return Err(ApiError::not_found(format!(
            "frame {id} came without an original"
        )));
    };
    let pixels = u64::from(frame.new.width) * u64::from(frame.new.height);
    if pixels > MAX_COMPARED_PIXELS {
        return Err(ApiError::unprocessable(format!(
            "frame {id} has {pixels} pixels, up to {MAX_COMPARED_PIXELS} are compared"
        )));
    }
    let data = object(app, frame, Kind::Original).await?;
    Ok(Picture { media_type, data })
}

async fn object(app: &App, frame: &Frame, kind: Kind) -> Result<bytes::Bytes, ApiError> {
    let id = frame.new.id;
    let data = app.store.read_object(kind, id).await?;
    data.ok_or_else(|| ApiError::not_found(format!("the image of frame {id} is gone")))
}
