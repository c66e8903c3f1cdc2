//! Reading the queue.

use std::time::Duration;

use bytes::Bytes;
use patchwire_proto::v1::EncodedFrame;
use prost::Message as _;
use sqlx::Row as _;
use uuid::Uuid;

use daemon::clock::now_ms;
use uplink::Entry;

use super::{error::SpoolError, queue::Spool, state::FrameState};
use crate::metrics::SpoolCall;

impl Spool {
    /// The oldest frame after place `seq`. Damaged rows on the way are moved to quarantine.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn next_after(&self, seq: i64) -> Result<Option<Entry>, SpoolError> {
        let reading = self.read_after(seq);
        self.note_damage(self.metrics.spool.time(SpoolCall::Read, reading).await)
    }

    async fn read_after(&self, seq: i64) -> Result<Option<Entry>, SpoolError> {
        let mut seq = seq;
        loop {
            let sql = "SELECT seq, frame_id, crc32c, payload FROM spool \
                       WHERE seq > ? ORDER BY seq LIMIT 1";
            let Some(row) = sqlx::query(sql)
                .bind(seq)
                .fetch_optional(&self.readers)
                .await?
            else {
                return Ok(None);
            };
            let after = row.try_get(0)?;
            if after <= seq {
                return Err(SpoolError::Damaged(sqlx::Error::Protocol(
                    "a tree that leads back".to_owned(),
                )));
            }
            seq = after;
            let frame_id: Vec<u8> = row.try_get(1)?;
            let payload = Bytes::from(row.try_get::<Vec<u8>, _>(3)?);
            if i64::from(crc32c::crc32c(&payload)) == row.try_get::<i64, _>(2)?
                && let Ok(frame) = EncodedFrame::decode(payload)
                && frame.frame_id == frame_id
            {
                return Ok(Some(Entry { seq, frame }));
            }
            self.quarantine_damaged(seq).await?;
        }
    }

    /// Age of the oldest frame; `None` when no frame waits.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn oldest_age(&self) -> Result<Option<Duration>, SpoolError> {
        let sql = "SELECT created_ms FROM spool ORDER BY seq LIMIT 1";
        let row = sqlx::query(sql).fetch_optional(&self.readers).await?;
        let age_ms = row.map(|row| now_ms() - row.get::<i64, _>(0));
        Ok(age_ms.map(|ms| Duration::from_millis(ms.max(0) as u64)))
    }

    /// State of a frame; `None` if it never came or left too long ago.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn state(&self, frame_id: Uuid) -> Result<Option<FrameState>, SpoolError> {
        let id = &frame_id.as_bytes()[..];
        let sql = "SELECT 'spooled', NULL FROM spool WHERE frame_id = ?1 UNION ALL \
                   SELECT state, reason FROM history WHERE frame_id = ?1 LIMIT 1";
        let row = sqlx::query(sql)
            .bind(id)
            .fetch_optional(&self.readers)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let reason = row.get::<Option<String>, _>(1).unwrap_or_default();
        Ok(match row.get::<&str, _>(0) {
            "spooled" => Some(FrameState::Spooled),
            "delivered" => Some(FrameState::Delivered),
            "duplicate" => Some(FrameState::Duplicate),
            "rejected" => Some(FrameState::Rejected { reason }),
            _ => Some(FrameState::Dropped { reason }),
        })
    }
}
