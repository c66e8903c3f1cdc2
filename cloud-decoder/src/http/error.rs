//! Errors as JSON: `{"error": "one sentence"}`.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header::WWW_AUTHENTICATE},
    response::{IntoResponse, Response},
};
use daemon::tokens::Refusal;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    analysis::CompareError,
    store::{StoreError, catalogue::CatalogueError, objects::ObjectError},
};

/// The body of every error.
#[derive(Serialize, ToSchema)]
pub(super) struct Told {
    /// One sentence.
    error: String,
}

/// A status and a sentence.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    message: String,
}

impl ApiError {
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
        }
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            message: message.into(),
        }
    }

    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::CONFLICT,
            message: message.into(),
        }
    }

    pub(super) fn unprocessable(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            message: message.into(),
        }
    }

    pub(super) fn unsupported(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
            message: message.into(),
        }
    }

    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            message: message.into(),
        }
    }

    pub(super) fn method_not_allowed() -> Self {
        Self {
            status: StatusCode::METHOD_NOT_ALLOWED,
            message: "this method is not allowed here".to_owned(),
        }
    }

    fn internal(error: &dyn std::error::Error, message: &str) -> Self {
        tracing::error!(%error, "http");
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            message: message.to_owned(),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal {
            Refusal::Missing | Refusal::Unknown => StatusCode::UNAUTHORIZED,
            Refusal::Kind(_) => StatusCode::FORBIDDEN,
        };
        Self {
            status,
            message: refusal.to_string(),
        }
    }
}

impl From<CatalogueError> for ApiError {
    fn from(error: CatalogueError) -> Self {
        Self::internal(&error, "the catalogue could not be read")
    }
}

impl From<ObjectError> for ApiError {
    fn from(error: ObjectError) -> Self {
        Self::internal(&error, "the frame's objects could not be read")
    }
}

impl From<CompareError> for ApiError {
    fn from(error: CompareError) -> Self {
        Self::internal(&error, "the pictures could not be compared")
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Catalogue(error) => error.into(),
            StoreError::Objects(error) => error.into(),
            error => Self::internal(&error, "the frame could not be queued"),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let told = Json(Told {
            error: self.message,
        });
        let mut response = (self.status, told).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
