//! One id, one content.

use crate::frame::{Frame, NewFrame};

/// The result of storing a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Insertion {
    /// It is durable now.
    New,
    /// It was durable already.
    Duplicate,
    /// Another content is kept under its id.
    Conflict,
}

/// Whether a frame has the same content as the kept one; for frames from before digests were kept, as far as their
/// fields show.
pub(super) fn same_content(kept: &Frame, new: &NewFrame) -> bool {
    kept.new.digest.is_none() || kept.new.digest == new.digest
}
