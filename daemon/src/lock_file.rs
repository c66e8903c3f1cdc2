//! Locks that keep two processes from using the same data.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::Path,
};

/// Opens a file, or makes it, and locks it for this process until it is dropped. Its contents stay as they are.
///
/// # Errors
/// [`TryLockError::WouldBlock`] when another process has the lock; otherwise the file cannot be opened or locked.
pub fn lock(path: &Path) -> Result<File, TryLockError> {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true);
    let file = options.truncate(false).open(path);
    let file = file.map_err(TryLockError::Error)?;
    file.try_lock()?;
    Ok(file)
}
