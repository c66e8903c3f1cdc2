//! Statuses of the sources, for people.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::config::Source;

/// Status of a source.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(crate) struct SourceStatus {
    camera: String,
    /// The folder or the address.
    from: String,
    /// Whether the folder is watched or the stream runs.
    pub(super) up: bool,
    /// Frames that were encoded and stored.
    pub(super) taken: u64,
    /// Frames of a stream that came too soon or while another was in progress.
    pub(super) skipped: u64,
    /// Frames that were refused.
    pub(super) refused: u64,
    /// Why the last of them was refused; for a file with its name.
    pub(super) refusal: Option<String>,
    /// When a refusal was logged last.
    #[serde(skip)]
    pub(super) logged: Option<Instant>,
    /// The last failure, until the source works again.
    pub(super) error: Option<String>,
}

/// Statuses of all sources.
#[derive(Clone, Default)]
pub(crate) struct Statuses(Arc<Mutex<Vec<SourceStatus>>>);

impl Statuses {
    pub(crate) fn new(sources: &[Source]) -> Self {
        let status = |source: &Source| SourceStatus {
            camera: source.camera.clone(),
            from: source
                .address()
                .map(|address| address.to_string())
                .unwrap_or_default(),
            ..SourceStatus::default()
        };
        Self(Arc::new(Mutex::new(sources.iter().map(status).collect())))
    }

    pub(crate) fn list(&self) -> Vec<SourceStatus> {
        self.lock().clone()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<SourceStatus>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
