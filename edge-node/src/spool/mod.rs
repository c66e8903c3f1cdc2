//! The durable queue of encoded frames, a SQLite file.
//!
//! # Invariants
//!
//! - A frame is in the spool, on disk, before [`Spool::push`] returns (`synchronous=FULL`).
//! - A frame leaves it with the cloud's ack, or when it is dropped (full, expired, corrupt), which is counted and shown
//!   by
//!   [`Spool::state`]; never otherwise.
//! - Frames are read in the order in which they were pushed.
//! - The file never grows beyond `max_bytes` (`max_page_count`). Its write-ahead log comes on top and is cut back to 4
//!   MiB
//!   at checkpoints.
//! - Every row carries a CRC-32C. A damaged row is moved to quarantine when it is read; the others are not affected.
//! - A file that SQLite finds damaged is set aside at the next start, and its readable rows go into a new one.
//! - History and quarantine are bounded ([`HISTORY_ROWS`], an eighth of `max_bytes`).
//!
//! # Operation
//!
//! One connection writes, so that writers queue in memory instead of polling a lock; other connections read. Pushing
//! leaves some pages free for the history of acknowledged frames. Should these not suffice, an acknowledged frame is
//! deleted without history, which never needs room. The spool belongs to one process, which holds a lock file beside
//! it.

mod aside;
mod connections;
mod damage;
mod error;
mod file;
mod first_page;
mod history;
mod layout;
mod lock_file;
mod migrations;
mod queue;
mod read;
mod retention;
mod salvage;
mod state;
mod taken;
mod write;

pub use self::{
    error::SpoolError,
    file::{Part, SpoolFile, StoredFrame},
    layout::HISTORY_ROWS,
    queue::Spool,
    salvage::Salvage,
    state::{Backlog, FrameState},
    taken::{Stamp, Taken},
};
