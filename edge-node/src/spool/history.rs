//! States of frames that left the spool.

use sqlx::SqliteConnection;

use super::{error::SpoolError, layout::HISTORY_ROWS, state::FrameState};

/// Longest reason that is stored, in characters.
const REASON_CHARS: usize = 512;

/// Writes a frame's state to the history and forgets the oldest beyond [`HISTORY_ROWS`].
pub(super) async fn remember(
    connection: &mut SqliteConnection,
    frame_id: &[u8],
    state: &FrameState,
) -> Result<(), SpoolError> {
    let (name, reason) = match state {
        FrameState::Spooled => return Ok(()),
        FrameState::Delivered => ("delivered", None),
        FrameState::Duplicate => ("duplicate", None),
        FrameState::Rejected { reason } => ("rejected", Some(clipped(reason))),
        FrameState::Dropped { reason } => ("dropped", Some(clipped(reason))),
    };
    sqlx::query("INSERT OR REPLACE INTO history (frame_id, state, reason) VALUES (?, ?, ?)")
        .bind(frame_id)
        .bind(name)
        .bind(reason)
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM history WHERE seq <= (SELECT MAX(seq) FROM history) - ?")
        .bind(HISTORY_ROWS)
        .execute(connection)
        .await?;
    Ok(())
}

/// A reason of bounded length.
pub(super) fn clipped(reason: &str) -> String {
    reason.chars().take(REASON_CHARS).collect()
}
