//! Frames that are not accepted: an HTTP error, and a reason in metrics.

use std::time::Duration;

use axum::http::StatusCode;
use daemon::http_error::HttpError;

use crate::{metrics::Refusal, pipeline::PipelineError, spool::SpoolError};

/// When a client should try again when the node is busy.
const RETRY_BUSY: Duration = Duration::from_secs(1);
/// The same when the spool is full or locked, which lasts longer.
const RETRY_FULL: Duration = Duration::from_secs(10);

/// A frame that is not accepted.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) error: HttpError,
    pub(super) reason: Refusal,
}

impl Refused {
    pub(super) fn overloaded(sentence: &str) -> Self {
        HttpError::too_many(sentence, RETRY_BUSY).into()
    }

    /// A camera that posts more frames than it may; after `wait` it may post one.
    pub(super) fn camera_rate(camera: &str, wait: Duration) -> Self {
        let sentence = format!("camera {camera} posts more frames than it may, try again later");
        Self {
            error: HttpError::too_many(sentence, wait),
            reason: Refusal::CameraRate,
        }
    }
}

impl From<HttpError> for Refused {
    fn from(error: HttpError) -> Self {
        let reason = match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Refusal::TooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Refusal::UnsupportedType,
            StatusCode::REQUEST_TIMEOUT => Refusal::Timeout,
            StatusCode::TOO_MANY_REQUESTS => Refusal::Overloaded,
            _ => Refusal::BadRequest,
        };
        Self { error, reason }
    }
}

impl From<PipelineError> for Refused {
    fn from(error: PipelineError) -> Self {
        let reason = error.refusal();
        let error = match (reason, error) {
            (Refusal::TooLarge, error) => HttpError::too_large(error),
            (Refusal::UnsupportedType, error) => HttpError::unsupported(error),
            (Refusal::BadRequest, error) => HttpError::bad_request(error),
            (_, PipelineError::Spool(error)) => spool_error(error),
            (_, error) => HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, error),
        };
        Self { error, reason }
    }
}

/// The answer to a request that the spool fails.
pub(super) fn spool_error(error: SpoolError) -> HttpError {
    match error {
        SpoolError::Full | SpoolError::Busy => {
            HttpError::unavailable(error).retry_after(RETRY_FULL)
        }
        error => HttpError::internal(error, PipelineError::Internal),
    }
}
