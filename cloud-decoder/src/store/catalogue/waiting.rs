//! Queries about the frames that wait for a decoder, including claimed ones.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Catalogue, CatalogueError, from_row::from_row, statement::sql};

/// Place of a frame among those that wait for a decoder. Every fourth time the oldest frame is taken first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Place)]
pub struct QueuePosition {
    /// Frames that will be taken before it, including those being decoded.
    pub ahead: i64,
    /// Frames that wait.
    pub waiting: i64,
    /// Arrival of the frame that has waited longest, milliseconds since the Unix epoch.
    pub oldest_received_ms: Option<i64>,
}

from_row! { QueuePosition: ahead, waiting, oldest_received_ms }

impl Catalogue {
    /// Number of frames that wait.
    ///
    /// # Errors
    /// The database failed.
    pub async fn queued(&self) -> Result<u64, CatalogueError> {
        let query = sql("SELECT count(*) FROM frames WHERE state = 'queued'");
        let (count,): (i64,) = self.0.only_row(query).await?;
        Ok(count as u64)
    }

    /// When the oldest of them arrived, milliseconds since the Unix epoch; `None` when none waits.
    ///
    /// # Errors
    /// The database failed.
    pub async fn queued_since(&self) -> Result<Option<i64>, CatalogueError> {
        let query =
            sql("SELECT received_ms FROM frames WHERE state = 'queued' ORDER BY seq LIMIT 1");
        let row: Option<(i64,)> = self.0.row(query).await?;
        Ok(row.map(|(received_ms,)| received_ms))
    }

    /// Place of a frame among them; `None` when it does not wait.
    ///
    /// # Errors
    /// The database failed.
    pub async fn queue_position(&self, id: Uuid) -> Result<Option<QueuePosition>, CatalogueError> {
        let query = sql("SELECT seq, CAST(CASE WHEN received_ms - captured_ms <= 60000 THEN 1 ELSE 0 END AS BIGINT)
             FROM frames WHERE frame_id = $1 AND state = 'queued'");
        let row: Option<(i64, i64)> = self.0.row(query.bind(&id.as_bytes()[..])).await?;
        let Some((seq, live)) = row else {
            return Ok(None);
        };
        let query = sql("SELECT count(*) AS waiting, CAST(coalesce(sum(CASE WHEN ")
            .push(self.0.dialect.taken_before)
            .push(" THEN 1 ELSE 0 END), 0) AS BIGINT) AS ahead, min(received_ms) AS oldest_received_ms
                 FROM frames WHERE state = 'queued'");
        self.0.row(query.bind(seq).bind(live == 1)).await
    }

    /// Whether any frame waits that is not being decoded and whose decoding was never cut short.
    ///
    /// # Errors
    /// The database failed.
    pub async fn has_untried(&self) -> Result<bool, CatalogueError> {
        let query = sql("SELECT seq FROM frames WHERE state = 'queued' AND begun = 0 LIMIT 1");
        let row: Option<(i64,)> = self.0.row(query).await?;
        Ok(row.is_some())
    }
}
