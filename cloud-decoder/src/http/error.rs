//! Errors of the HTTP API.

pub(super) use daemon::http_error::{ErrorBody, HttpError as ApiError};

use crate::{
    analysis::CompareError,
    store::{ReadError, StoreError, catalogue::CatalogueError, objects::ObjectError},
};

impl From<CatalogueError> for ApiError {
    fn from(error: CatalogueError) -> Self {
        Self::internal(error, "the catalogue could not be read")
    }
}

impl From<ObjectError> for ApiError {
    fn from(error: ObjectError) -> Self {
        Self::internal(error, "the frame's objects could not be read")
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::MissingLatents => Self::not_found(error),
            ReadError::Objects(error) => error.into(),
            ReadError::Damaged => Self::internal(&error, &error),
        }
    }
}

impl From<CompareError> for ApiError {
    fn from(error: CompareError) -> Self {
        Self::internal(error, "the pictures could not be compared")
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Catalogue(error) => error.into(),
            StoreError::Objects(error) => error.into(),
            error => Self::internal(error, "the frame could not be queued"),
        }
    }
}
