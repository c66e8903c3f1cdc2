//! The catalogue: a row for each frame, sums for each camera, and the scenes and alarms of cameras. It holds everything
//! except the frames' bytes.
//!
//! [`Catalogue`] answers queries, [`FrameRows`] changes the rows of frames, [`Watchlist`] keeps data about cameras as a
//! whole. All three use one [`Database`].

mod alarms;
mod attempts;
mod cameras;
mod database;
mod dialect;
mod error;
mod frames;
mod from_row;
mod handles;
mod history;
mod identity;
mod insert;
mod lease;
mod migrations;
mod outcome;
mod row;
mod statement;
mod sums;
#[cfg(test)]
mod tests;
mod traffic;
mod waiting;
mod watches;

pub use alarms::AlarmPage;
pub use attempts::AttemptEnd;
pub use cameras::{Camera, Totals};
pub use database::Database;
pub use error::CatalogueError;
pub use frames::{Kept, LatentSample, LikeliestClass, Page};
pub use handles::{Catalogue, FrameRows, Watchlist};
pub use history::{History, Line, Lines, MAX_LINES, Span};
pub use identity::StoreId;
pub use lease::Lease;
pub use traffic::{Bytes, TrafficBy, TrafficLine, TrafficSpan};
pub use waiting::QueuePosition;
pub use watches::{Learned, Sighting, Watched};
