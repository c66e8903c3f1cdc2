//! Errors of the catalogue.

use std::{error::Error, fmt};

/// Why the catalogue could not answer.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The database failed, or a row holds what this version never writes ([`BadRow`]).
    #[error("catalogue database: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("catalogue schema: {0}")]
    Schema(#[from] sqlx::migrate::MigrateError),
    /// The address of the database, or the path of its file, cannot be used.
    #[error("catalogue address: {0}")]
    Address(String),
}

impl CatalogueError {
    /// Whether PostgreSQL ended a transaction in favour of another one: a deadlock or a failed serialization.
    pub(super) fn is_conflict(&self) -> bool {
        let Self::Database(error) = self else {
            return false;
        };
        let code = error.as_database_error().and_then(|error| error.code());
        matches!(code.as_deref(), Some("40P01" | "40001"))
    }
}

/// A row that this version cannot have written.
#[derive(Debug)]
pub(super) struct BadRow {
    pub(super) row: String,
    pub(super) what: &'static str,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the row of {}: {}", self.row, self.what)
    }
}

impl Error for BadRow {}

impl From<BadRow> for sqlx::Error {
    fn from(bad: BadRow) -> Self {
        Self::Decode(bad.into())
    }
}
