//! Errors of the spool, and SQLite's result codes.

use std::io;

use sqlx::migrate::MigrateError;

const BUSY: u32 = 5;
const LOCKED: u32 = 6;
/// A page that makes no sense.
const CORRUPT: u32 = 11;
/// A file at `max_page_count`, or a disk without room.
const FULL: u32 = 13;
/// A value that a column does not take.
const CONSTRAINT: u32 = 19;
/// A file that is not a database.
const NOT_A_DATABASE: u32 = 26;

/// Why a frame could not be stored, or the spool not be read.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// No room, and the policy is to reject.
    #[error("the spool is full, try again later")]
    Full,
    /// A frame that would not fit into an empty spool.
    #[error("encoded frame of {bytes} bytes is larger than the spool of {max} bytes allows")]
    TooLarge {
        /// Bytes of the frame's message.
        bytes: usize,
        /// Bytes of the spool.
        max: u64,
    },
    /// Another process uses the spool.
    #[error("the spool {0} is in use by another process")]
    InUse(String),
    /// The lock file beside the spool cannot be made or locked.
    #[error("the spool's lock {0} cannot be used: {1}")]
    Lock(String, io::Error),
    /// Another program locks the file for longer than the timeout.
    #[error("the spool is busy or locked by another program, try again later")]
    Busy,
    /// The file is damaged.
    #[error("the spool's file is damaged, the node's next start saves what can be read of it: {0}")]
    Damaged(sqlx::Error),
    /// The damaged file cannot be moved aside.
    #[error("the spool's damaged file cannot be set aside: {0}")]
    Aside(io::Error),
    /// The database failed.
    #[error("the spool cannot be used: {0}")]
    Database(sqlx::Error),
    /// The file is not a spool of this version.
    #[error("the spool cannot be opened: {0}")]
    Schema(MigrateError),
}

// Not derived: a derived `From` would make the cause a source too, and messages would repeat it.
impl From<sqlx::Error> for SpoolError {
    fn from(error: sqlx::Error) -> Self {
        match primary_code(&error) {
            Some(BUSY | LOCKED) => Self::Busy,
            _ if is_damage(&error) => Self::Damaged(error),
            // The only writing connection waits for the lock.
            _ if matches!(error, sqlx::Error::PoolTimedOut) => Self::Busy,
            _ => Self::Database(error),
        }
    }
}

/// SQLite's result code, without what it adds in the higher bits.
fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error()?.code()?;
    Some(code.parse::<u32>().ok()? & 0xff)
}

/// Whether an error means that the file is damaged.
fn is_damage(error: &sqlx::Error) -> bool {
    // Tables are strict, so a value of another type was never written.
    matches!(error, sqlx::Error::ColumnDecode { .. })
        || matches!(primary_code(error), Some(CORRUPT | NOT_A_DATABASE))
}

/// Whether the file or the disk has no room.
pub(super) fn is_full(error: &sqlx::Error) -> bool {
    primary_code(error) == Some(FULL)
}

/// Whether a value was refused by its column.
pub(super) fn is_constraint(error: &sqlx::Error) -> bool {
    primary_code(error) == Some(CONSTRAINT)
}
