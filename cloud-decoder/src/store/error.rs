//! Errors of the frame store.

use std::sync::Arc;

use super::{catalogue::CatalogueError, objects::ObjectError, queue::QueueError};

/// Errors of the store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error(transparent)]
    Objects(#[from] ObjectError),
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The error of the transaction in which this frame's row was to be written with others.
    #[error("{0}")]
    Batch(Arc<StoreError>),
    #[error("the service is shutting down")]
    Closed,
}
