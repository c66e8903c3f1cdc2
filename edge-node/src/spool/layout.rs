//! Sizes of the file's parts.

/// Frames whose state is remembered after they left.
pub const HISTORY_ROWS: i64 = 4096;
/// Bytes of a page.
pub(super) const PAGE_BYTES: u64 = 4096;
/// Pages that pushing leaves free.
pub(super) const RESERVE_PAGES: u64 = 128;
/// Bytes that the write-ahead log is cut back to.
pub(super) const WAL_BYTES: u64 = 4 << 20;
