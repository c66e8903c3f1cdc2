//! Refusals: one sentence as JSON, with the right status.

use std::{fmt, time::Duration};

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use daemon::tokens;
use serde::Serialize;
use utoipa::ToSchema;

use media::DecodeError;

use crate::{metrics::Refusal, spool::SpoolError};

/// Seconds after which a client is told to try again when the node is busy.
const RETRY_BUSY_S: u64 = 1;
/// The same when the spool is full or locked, which takes longer to pass.
const RETRY_FULL_S: u64 = 10;

/// What every refusal says.
#[derive(Serialize, ToSchema)]
pub(super) struct Told {
    /// One sentence.
    error: String,
}

/// A refusal as the client sees it.
#[derive(Debug)]
pub(crate) struct HttpError {
    status: StatusCode,
    sentence: String,
    retry_after_s: Option<u64>,
    refusal: Option<Refusal>,
}

impl HttpError {
    pub(crate) fn new(status: StatusCode, sentence: impl fmt::Display) -> Self {
        Self {
            status,
            sentence: sentence.to_string(),
            retry_after_s: None,
            refusal: None,
        }
    }

    pub(crate) fn bad_request(sentence: impl fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, sentence)
    }

    pub(crate) fn too_large(sentence: impl fmt::Display) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, sentence)
    }

    /// Details are in the log, not in the answer.
    pub(crate) fn internal(error: impl fmt::Display) -> Self {
        tracing::error!(%error, "a request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the node failed on this request",
        )
    }

    pub(crate) fn overloaded() -> Self {
        let sentence = "too many frames are being handled, try again later";
        Self {
            retry_after_s: Some(RETRY_BUSY_S),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, sentence)
        }
    }

    pub(crate) fn too_many_bytes() -> Self {
        Self {
            sentence: "too many bytes of frames are on their way, try again later".into(),
            ..Self::overloaded()
        }
    }

    /// A camera that posts more frames than it may; after `wait` it may post one.
    pub(crate) fn too_fast(camera: &str, wait: Duration) -> Self {
        let sentence = format!("camera {camera} posts more frames than it may, try again later");
        Self {
            retry_after_s: Some(wait.as_secs_f64().ceil() as u64),
            refusal: Some(Refusal::CameraRate),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, sentence)
        }
    }

    /// What the metrics call it.
    pub(crate) fn refusal(&self) -> Refusal {
        if let Some(refusal) = self.refusal {
            return refusal;
        }
        match self.status {
            StatusCode::PAYLOAD_TOO_LARGE => Refusal::TooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Refusal::UnsupportedType,
            StatusCode::REQUEST_TIMEOUT => Refusal::Timeout,
            StatusCode::TOO_MANY_REQUESTS => Refusal::Overloaded,
            StatusCode::SERVICE_UNAVAILABLE => Refusal::SpoolFull,
            status if status.is_client_error() => Refusal::BadRequest,
            _ => Refusal::Internal,
        }
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl From<tokens::Refusal> for HttpError {
    fn from(refusal: tokens::Refusal) -> Self {
        let status = match refusal {
            tokens::Refusal::Missing | tokens::Refusal::Unknown => StatusCode::UNAUTHORIZED,
            tokens::Refusal::Kind(_) => StatusCode::FORBIDDEN,
        };
        Self::new(status, refusal)
    }
}

impl From<DecodeError> for HttpError {
    fn from(error: DecodeError) -> Self {
        use DecodeError as E;
        let status = match &error {
            E::NoType | E::Type(_) | E::Mismatch { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            E::Side { .. } | E::Pixels { .. } | E::Metadata(_) => StatusCode::PAYLOAD_TOO_LARGE,
            E::Empty
            | E::RawSize(_)
            | E::RawLength { .. }
            | E::NoPixels { .. }
            | E::Size(..)
            | E::Jpeg(_)
            | E::Canvas(..)
            | E::Damaged(..) => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error)
    }
}

impl From<SpoolError> for HttpError {
    fn from(error: SpoolError) -> Self {
        match error {
            SpoolError::Full => Self {
                retry_after_s: Some(RETRY_FULL_S),
                ..Self::new(StatusCode::SERVICE_UNAVAILABLE, error)
            },
            SpoolError::Busy => Self {
                retry_after_s: Some(RETRY_FULL_S),
                refusal: Some(Refusal::SpoolBusy),
                ..Self::new(StatusCode::SERVICE_UNAVAILABLE, error)
            },
            SpoolError::TooLarge { .. } => Self::too_large(error),
            error => Self::internal(error),
        }
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let told = Json(Told {
            error: self.sentence,
        });
        let mut response = (self.status, told).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, scheme);
        }
        if let Some(seconds) = self.retry_after_s {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
