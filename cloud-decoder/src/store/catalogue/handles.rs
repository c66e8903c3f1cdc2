//! The three handles of a database.

use super::{CatalogueError, Database};

/// Answers queries about frames and cameras.
#[derive(Clone)]
pub struct Catalogue(pub Database);

/// Changes the rows of frames, and with them the sums of their cameras.
#[derive(Clone)]
pub struct FrameRows(pub Database);

/// Keeps data about cameras as a whole: their usual scene and rhythm, their alarms, and their bytes. Calls that change
/// data may be repeated.
#[derive(Clone)]
pub struct Watchlist(pub Database);

impl Catalogue {
    /// The clock of all processes that share the catalogue, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// The database failed.
    pub async fn now_ms(&self) -> Result<i64, CatalogueError> {
        self.0.now_ms().await
    }
}
