//! Attempts at decoding: their beginning, and their end if the frame is to be tried again.

use uuid::Uuid;

use super::{CatalogueError, FrameRows, statement::sql};
use crate::frame::Frame;

/// The end of a decoding after which the frame is to be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// It failed, presumably because of the frame.
    Failed,
    /// It failed because of a disk or a server.
    NotItsFault,
    /// It was not begun.
    NotBegun,
}

impl AttemptEnd {
    fn changes(self) -> &'static str {
        match self {
            Self::Failed => "attempts = attempts + 1, begun = 0, deaths = 0",
            Self::NotItsFault => "begun = 0, deaths = 0",
            Self::NotBegun => "begun = CASE WHEN begun > 0 THEN begun - 1 ELSE 0 END",
        }
    }
}

/// Lifetime of a claim in SQLite, in milliseconds: longer than any decoding.
const CLAIM_MS: i64 = 15 * 60 * 1000;
/// Live frames arrived within a minute of their capture. The condition is the same as that of an index.
const NEWEST_LIVE: &str =
    "INDEXED BY frames_live WHERE state = 'queued' AND received_ms - captured_ms <= 60000
     AND not_before_ms <= $1 ORDER BY seq DESC";
const OLDEST: &str = "WHERE state = 'queued' AND not_before_ms <= $1 ORDER BY seq";

impl FrameRows {
    /// Claims a frame in SQLite and counts its decoding as begun: the newest live frame or, if there is none or the
    /// oldest is requested, the oldest frame. The claim lapses after a quarter of an hour, so that the frame of a
    /// worker that died is taken again. `now_ms` is the process's steady clock.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn claim(
        &self,
        now_ms: i64,
        oldest: bool,
    ) -> Result<Option<Frame>, CatalogueError> {
        let orders: &[&str] = match oldest {
            true => &[OLDEST],
            false => &[NEWEST_LIVE, OLDEST],
        };
        for order in orders {
            let claim = format!(
                "UPDATE frames SET begun = begun + 1, not_before_ms = $1 + $2
                 WHERE seq = (SELECT seq FROM frames {order} LIMIT 1) RETURNING *"
            );
            let claim = sql(&claim).bind(now_ms).bind(CLAIM_MS);
            let row: Option<Frame> = self.0.changed_row(claim).await?;
            if row.is_some() {
                return Ok(row.map(Frame::under_way));
            }
        }
        Ok(None)
    }

    /// Begins the decoding of a queued frame in PostgreSQL. `None` when the frame is not queued any more.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn begin(&self, id: Uuid) -> Result<Option<Frame>, CatalogueError> {
        let begin = sql("UPDATE frames SET begun = begun + 1
             WHERE frame_id = $1 AND state = 'queued' RETURNING *");
        let row: Option<Frame> = self.0.changed_row(begin.bind(&id.as_bytes()[..])).await?;
        Ok(row.map(Frame::under_way))
    }

    /// Records the end of a decoding after which the frame is to be tried again; in SQLite, not before a time of the
    /// process's steady clock, in milliseconds.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn put_back(
        &self,
        id: Uuid,
        not_before_ms: Option<i64>,
        end: AttemptEnd,
    ) -> Result<(), CatalogueError> {
        let mut update = sql("UPDATE frames SET ").push(end.changes());
        if let Some(ms) = not_before_ms {
            update = update.push(", not_before_ms = ").value(ms);
        }
        let update = update.push(" WHERE state = 'queued' AND frame_id = ");
        self.0.execute(update.value(&id.as_bytes()[..])).await
    }

    /// Notes that a frame's decoding runs alone in a process that has decoded others, until it ends.
    ///
    /// # Errors
    /// The database failed.
    pub async fn mark_alone(&self, id: Uuid) -> Result<(), CatalogueError> {
        let update = sql("UPDATE frames SET deaths = deaths + 1 WHERE frame_id = $1");
        self.0.execute(update.bind(&id.as_bytes()[..])).await
    }

    /// Queued frames in PostgreSQL that were last offered before a time, in milliseconds since the Unix epoch, at most
    /// `limit`. They count as offered now.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn offered_before(
        &self,
        before_ms: i64,
        limit: u32,
    ) -> Result<Vec<Frame>, CatalogueError> {
        let now = self.0.dialect.now_ms;
        let update = format!(
            "UPDATE frames SET offered_ms = {now}
             WHERE seq IN (SELECT seq FROM frames WHERE state = 'queued' AND offered_ms < $1
                           ORDER BY offered_ms LIMIT $2 FOR UPDATE SKIP LOCKED)
             RETURNING *"
        );
        let update = sql(&update).bind(before_ms).bind(i64::from(limit));
        self.0.changed_rows(update).await
    }
}
