//! Errors of the HTTP APIs: a status and `{"error": "one sentence"}`, with the same words in every service.

use std::{any::Any, fmt, time::Duration};

use axum::{
    Json,
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::tokens::Refusal;

/// Most characters of a path that a message repeats.
const MAX_PATH: usize = 80;

/// Body of every error.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// One sentence.
    pub error: String,
}

/// A status, a sentence, and perhaps when to try again.
#[derive(Debug)]
pub struct HttpError {
    status: StatusCode,
    sentence: String,
    retry_after: Option<Duration>,
}

impl HttpError {
    /// An error of any status.
    pub fn new(status: StatusCode, sentence: impl fmt::Display) -> Self {
        Self {
            status,
            sentence: sentence.to_string(),
            retry_after: None,
        }
    }

    /// 400: a parameter or body that is wrong.
    pub fn bad_request(sentence: impl fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, sentence)
    }

    /// 404: a thing that does not exist.
    pub fn not_found(sentence: impl fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, sentence)
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        let sentence = "this method is not allowed here";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, sentence)
    }

    /// 409: a request that does not fit the state of the thing.
    pub fn conflict(sentence: impl fmt::Display) -> Self {
        Self::new(StatusCode::CONFLICT, sentence)
    }

    /// 413: a body that is too large.
    pub fn too_large(sentence: impl fmt::Display) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, sentence)
    }

    /// 415: a body of a type that is not supported.
    pub fn unsupported(sentence: impl fmt::Display) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence)
    }

    /// 415: a compressed body.
    pub fn content_encoding(coding: &str) -> Self {
        let rest = "is not supported, send the body uncompressed";
        Self::unsupported(format!("content-encoding {coding} {rest}"))
    }

    /// 422: a thing that cannot be processed.
    pub fn unprocessable(sentence: impl fmt::Display) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, sentence)
    }

    /// 429: more than the service or the client may have.
    pub fn too_many(sentence: impl fmt::Display, retry_after: Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, sentence).retry_after(retry_after)
    }

    /// 500: a fault of the service. The sentence is the client's; `error` goes to the log.
    pub fn internal(error: impl fmt::Display, sentence: impl fmt::Display) -> Self {
        tracing::error!(%error, "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, sentence)
    }

    /// 503: not now.
    pub fn unavailable(sentence: impl fmt::Display) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, sentence)
    }

    /// With a `Retry-After`, in whole seconds, rounded up.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<Refusal> for HttpError {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal {
            Refusal::Missing | Refusal::Unknown => StatusCode::UNAUTHORIZED,
            Refusal::Kind(_) => StatusCode::FORBIDDEN,
        };
        Self::new(status, refusal)
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let body = Json(ErrorBody {
            error: self.sentence,
        });
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs_f64().ceil() as u64;
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Handler for paths without a route.
pub async fn no_route(uri: Uri) -> HttpError {
    let path: String = uri.path().chars().take(MAX_PATH).collect();
    HttpError::not_found(format!("there is nothing at {path}"))
}

/// Handler for methods that a route does not have.
pub async fn no_method() -> HttpError {
    HttpError::method_not_allowed()
}

/// The answer of a handler that panicked.
pub fn panicked(_: Box<dyn Any + Send>) -> Response {
    HttpError::internal("a handler panicked", "the service failed on this request").into_response()
}
