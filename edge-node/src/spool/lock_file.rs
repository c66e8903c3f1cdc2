//! The lock file beside the spool notes whether the spool is in use: if it says so at the start, the spool was not
//! closed properly.

use std::{
    fs,
    io::{self, Read as _, Seek as _, Write as _},
};

/// Contents of the lock file while a node uses the spool.
const IN_USE: &[u8] = b"in use\n";

/// Marks the spool as in use. Returns whether it was marked already: its last user ended without [`mark_clean`].
pub(super) fn mark_used(lock: &mut fs::File) -> io::Result<bool> {
    let mut noted = Vec::new();
    lock.rewind()?;
    lock.read_to_end(&mut noted)?;
    if noted.is_empty() {
        lock.write_all(IN_USE)?;
        lock.sync_all()?;
    }
    Ok(!noted.is_empty())
}

/// Marks the spool as closed and whole.
pub(super) fn mark_clean(lock: &fs::File) -> io::Result<()> {
    lock.set_len(0)
}
