//! Errors of the HTTP API.

pub(super) use daemon::http_error::{ErrorBody as Told, HttpError as ApiError};

use crate::{
    catalogue::CatalogueError, compare::CompareError, objects::ObjectError, repair::RepairError,
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

impl From<CompareError> for ApiError {
    fn from(error: CompareError) -> Self {
        Self::internal(error, "the pictures could not be compared")
    }
}

impl From<RepairError> for ApiError {
    fn from(error: RepairError) -> Self {
        match error {
            RepairError::Catalogue(error) => error.into(),
            RepairError::Objects(error) => error.into(),
            RepairError::Adopt(error) => {
                Self::internal(error, "frames and objects could not be compared")
            }
            RepairError::Queue(error) => Self::internal(error, "the frame could not be queued"),
        }
    }
}
