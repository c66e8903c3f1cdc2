//! Partial files that a crash left while an object was being written.
//!
//! A local folder's objects are written to `NAME#NUMBER` and renamed to `NAME`. The store does not list such files, so
//! nothing else would ever delete them.

use std::{
    fs::{self, DirEntry},
    io::{self, ErrorKind},
    path::Path,
    time::SystemTime,
};

/// Deletes those below the folder that were last written before `oldest`. Returns their number.
///
/// # Errors
/// A folder cannot be read or a file not deleted.
pub(crate) fn delete(folder: &Path, oldest: SystemTime) -> io::Result<u64> {
    let mut deleted = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            deleted += delete(&entry.path(), oldest)?;
        } else if is_staged(&entry) && entry.metadata()?.modified()? < oldest {
            match fs::remove_file(entry.path()) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => deleted += 1,
            }
        }
    }
    Ok(deleted)
}

fn is_staged(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let number = name.to_str().and_then(|name| name.rsplit_once('#'));
    number.is_some_and(|(_, n)| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()))
}
