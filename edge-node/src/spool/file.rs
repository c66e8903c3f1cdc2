//! The file as an operator reads it, with or without a running node.

use std::path::Path;

use bytes::Bytes;
use patchwire_proto::{limits::check_frame, v1::EncodedFrame};
use prost::Message as _;
use sqlx::{
    Row as _, SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteRow},
};
use uuid::Uuid;

use super::{damage, error::SpoolError};

/// A part of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Frames that wait for the cloud.
    Queue,
    /// Frames that were rejected or are damaged.
    Quarantine,
}

/// A frame in the file.
#[derive(Clone, Debug)]
pub struct StoredFrame {
    /// Place in its part; grows with each frame.
    pub seq: i64,
    /// Id of the frame; nil where the row has none.
    pub frame_id: Uuid,
    /// Time when the node took it, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// Bytes of its message.
    pub bytes: usize,
    /// Why it is in quarantine.
    pub reason: Option<String>,
    /// The frame, or a sentence about its damage.
    pub frame: Result<EncodedFrame, String>,
}

/// The file, opened read-only.
pub struct SpoolFile {
    readers: SqlitePool,
}

impl SpoolFile {
    /// Opens an existing spool. A node may use it at the same time.
    ///
    /// # Errors
    /// There is no such file, or it is not a spool.
    pub async fn open(path: &Path) -> Result<Self, SpoolError> {
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        let pool = SqlitePoolOptions::new().max_connections(1);
        let readers = pool.connect_with(options).await?;
        Ok(Self { readers })
    }

    /// The first frame of a part after place `seq`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn next_after(
        &self,
        part: Part,
        seq: i64,
    ) -> Result<Option<StoredFrame>, SpoolError> {
        let sql = match part {
            Part::Queue => {
                "SELECT seq, frame_id, created_ms, payload, crc32c, NULL FROM spool \
                 WHERE seq > ? ORDER BY seq LIMIT 1"
            }
            Part::Quarantine => {
                "SELECT seq, frame_id, created_ms, payload, NULL, reason FROM quarantine \
                 WHERE seq > ? ORDER BY seq LIMIT 1"
            }
        };
        let row = sqlx::query(sql)
            .bind(seq)
            .fetch_optional(&self.readers)
            .await?;
        Ok(row.map(|row| stored_frame(&row)))
    }

    /// Problems that SQLite finds in the file as a whole; empty when it is whole.
    ///
    /// # Errors
    /// The file cannot be read at all.
    pub async fn problems(&self) -> Result<Vec<String>, SpoolError> {
        let mut connection = self.readers.acquire().await?;
        Ok(damage::problems(&mut connection).await?)
    }

    /// Closes the file.
    pub async fn close(self) {
        self.readers.close().await;
    }
}

fn stored_frame(row: &SqliteRow) -> StoredFrame {
    let frame_id = Uuid::from_slice(row.get(1)).unwrap_or_default();
    let payload = Bytes::from(row.get::<Vec<u8>, _>(3));
    StoredFrame {
        seq: row.get(0),
        frame_id,
        created_ms: row.get(2),
        bytes: payload.len(),
        reason: row.get(5),
        frame: read(payload, row.get(4), frame_id),
    }
}

/// Checks a frame: the row's checksum, its id, and the rules of the contract.
fn read(payload: Bytes, crc32c: Option<i64>, id: Uuid) -> Result<EncodedFrame, String> {
    if crc32c.is_some_and(|stored| stored != i64::from(crc32c::crc32c(&payload))) {
        return Err("its row fails the checksum".into());
    }
    let frame = EncodedFrame::decode(payload).map_err(|error| error.to_string())?;
    if frame.frame_id[..] != id.as_bytes()[..] {
        return Err("its message has another id than its row".into());
    }
    check_frame(&frame).map_err(|error| error.to_string())?;
    Ok(frame)
}
