//! Files that are moved when a damaged spool is replaced: the damaged file is set aside, the new one takes its place.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use daemon::clock::now_ms;

/// Suffixes of a database's files.
const FILES: [&str; 4] = ["", "-wal", "-shm", "-journal"];
/// Suffix of the new spool while it is filled.
const FRESH: &str = ".salvaging";
/// Suffix of the new spool once it is complete.
const GATHERED: &str = ".salvaged";

/// Path of the new spool that is filled from a damaged one. Files of an earlier attempt are removed.
///
/// # Errors
/// A file cannot be removed.
pub(super) fn fresh(spool: &Path) -> io::Result<PathBuf> {
    let fresh = with_tail(spool, FRESH);
    remove(&with_tail(spool, GATHERED))?;
    for tail in FILES {
        remove(&with_tail(&fresh, tail))?;
    }
    Ok(fresh)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Moves the damaged files aside and the new spool into their place. Returns where the damaged file is.
///
/// # Errors
/// A file cannot be moved.
pub(super) fn replace(spool: &Path) -> io::Result<PathBuf> {
    fs::rename(with_tail(spool, FRESH), with_tail(spool, GATHERED))?;
    let aside = name(spool, "");
    // After this rename, the next start can finish by itself.
    fs::rename(spool, &aside)?;
    finish(spool)?;
    Ok(aside)
}

/// Moves the new spool into the place of a damaged one that was moved aside already.
///
/// # Errors
/// A file cannot be moved.
pub(super) fn finish(spool: &Path) -> io::Result<()> {
    let gathered = with_tail(spool, GATHERED);
    if spool.exists() || !gathered.exists() {
        return Ok(());
    }
    // The log of the damaged file must not be taken for that of the new one.
    for tail in &FILES[1..] {
        match fs::rename(with_tail(spool, tail), name(spool, tail)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(gathered, spool)?;
    let folder = spool
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// The name for a file that is set aside now.
pub(super) fn name(spool: &Path, tail: &str) -> PathBuf {
    with_tail(spool, &format!(".damaged-{}{tail}", now_ms()))
}

fn with_tail(path: &Path, tail: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(tail);
    name.into()
}
