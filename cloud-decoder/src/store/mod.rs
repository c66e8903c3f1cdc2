//! Keeps frames: their rows, their objects, and their places in the decode queue.
//!
//! [`FrameStore`] alone writes rows and objects, offers frames to the queue and publishes changes. An object is written
//! before its row and deleted before its row, so that a crash never leaves a row that promises more than there is.

pub mod catalogue;
mod change_feed;
mod content;
mod error;
mod frame_store;
mod identity;
mod insert;
pub mod objects;
mod open;
mod orphans;
mod outcome;
pub mod queue;
mod read;
mod remove;
mod row_writer;
mod shared_clock;
pub mod stored_frame;

pub(crate) use content::Insertion;
pub(crate) use error::StoreError;
pub(crate) use frame_store::FrameStore;
pub(crate) use insert::PendingRow;
pub(crate) use open::open;
pub(crate) use outcome::Pictures;
pub(crate) use read::{DAMAGED, Original, ReadError};
