//! Parameters of requests.

use axum::{
    extract::{FromRequestParts, Path, Query},
    http::request::Parts,
};
use patchwire_proto::limits;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{app::App, error::ApiError};
use crate::frame::Frame;

/// The query of a request.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(ApiError::bad_request(rejection.body_text())),
        }
    }
}

/// The frame id in a request's path.
pub(super) struct FrameId(pub(super) Uuid);

impl<S: Send + Sync> FromRequestParts<S> for FrameId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        frame_id(&path.map_or_else(|_| String::new(), |Path(id)| id)).map(Self)
    }
}

/// The row of a frame.
pub(super) async fn find(app: &App, id: Uuid) -> Result<Frame, ApiError> {
    let frame = app.store.catalogue().get(id).await?;
    frame.ok_or_else(|| ApiError::not_found(format!("no frame {id} here")))
}

/// Checks the id of a camera, or of a node; an empty one counts as none.
pub(super) fn camera(id: Option<String>) -> Result<Option<String>, ApiError> {
    let id = id.filter(|id| !id.is_empty());
    if let Some(id) = &id {
        limits::check_id("camera", id).map_err(|e| ApiError::bad_request(e.to_string()))?;
    }
    Ok(id)
}

/// The most items of a page.
pub(super) fn limit(limit: Option<u32>, default: u32, max: u32) -> Result<u32, ApiError> {
    within("limit", limit.unwrap_or(default), max)
}

/// Checks a number.
pub(super) fn within(name: &str, value: u32, max: u32) -> Result<u32, ApiError> {
    match value {
        value if (1..=max).contains(&value) => Ok(value),
        value => Err(ApiError::bad_request(format!(
            "{name} is {value}, allowed are 1 to {max}"
        ))),
    }
}

pub(super) fn frame_id(text: &str) -> Result<Uuid, ApiError> {
    Uuid::parse_str(text).map_err(|_| ApiError::bad_request("a frame id is a UUID"))
}
