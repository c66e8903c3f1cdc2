//! The spool's file as it lies on the disk, read beside a running node or without one.

use std::path::Path;

use bytes::Bytes;
use patchwire_proto::{limits::check_frame, v1::EncodedFrame};
use prost::Message as _;
use sqlx::{
    Row as _, SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteRow},
};
use uuid::Uuid;

use super::{SpoolError, salvage};

/// Which frames of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shelf {
    /// Those that wait for the cloud.
    Queue,
    /// Those that will never be delivered as they are.
    Quarantine,
}

/// A frame on a shelf.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its place; grows with each arrival on the shelf.
    pub seq: i64,
    /// Its id; nil where the row does not even have one.
    pub frame_id: Uuid,
    /// When the node took it, milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// Bytes of its message.
    pub bytes: usize,
    /// Why it is in quarantine.
    pub reason: Option<String>,
    /// The frame, or in one sentence what is damaged.
    pub frame: Result<EncodedFrame, String>,
}

/// The file, opened for reading alone.
pub struct SpoolFile {
    readers: SqlitePool,
}

impl SpoolFile {
    /// Opens a spool that is there. A node may go on using it.
    ///
    /// # Errors
    /// There is no such file, or it is not a spool.
    pub async fn open(path: &Path) -> Result<Self, SpoolError> {
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        let pool = SqlitePoolOptions::new().max_connections(1);
        let readers = pool.connect_with(options).await?;
        Ok(Self { readers })
    }

    /// The first frame on a shelf after place `seq`: one is in memory at a time.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn next_after(&self, shelf: Shelf, seq: i64) -> Result<Option<Kept>, SpoolError> {
        let sql = match shelf {
            Shelf::Queue => {
                "SELECT seq, frame_id, created_ms, payload, crc32c, NULL FROM spool \
                 WHERE seq > ? ORDER BY seq LIMIT 1"
            }
            Shelf::Quarantine => {
                "SELECT seq, frame_id, created_ms, payload, NULL, reason FROM quarantine \
                 WHERE seq > ? ORDER BY seq LIMIT 1"
            }
        };
        let row = sqlx::query(sql)
            .bind(seq)
            .fetch_optional(&self.readers)
            .await?;
        Ok(row.map(|row| kept(&row)))
    }

    /// What SQLite finds wrong with the file as a whole; empty when nothing is.
    ///
    /// # Errors
    /// The file cannot be read at all.
    pub async fn problems(&self) -> Result<Vec<String>, SpoolError> {
        let mut connection = self.readers.acquire().await?;
        Ok(salvage::problems(&mut connection).await?)
    }

    /// Closes the file.
    pub async fn close(self) {
        self.readers.close().await;
    }
}

fn kept(row: &SqliteRow) -> Kept {
    let frame_id = Uuid::from_slice(row.get(1)).unwrap_or_default();
    let payload = Bytes::from(row.get::<Vec<u8>, _>(3));
    Kept {
        seq: row.get(0),
        frame_id,
        created_ms: row.get(2),
        bytes: payload.len(),
        reason: row.get(5),
        frame: read(payload, row.get(4), frame_id),
    }
}

/// Checks all that was written down about a frame: the row's checksum, its id, and the contract's own rules.
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
