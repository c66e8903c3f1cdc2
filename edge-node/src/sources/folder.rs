//! A folder that a camera or a person puts images into.
//!
//! A file is taken once it is unchanged from one scan to the next, and only once, even across restarts: the spool notes
//! it in the transaction that stores its frame. A file that changes later is another frame. Files stay in the folder.
//! Names that begin with a dot, names without an image's extension, and subfolders are ignored.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use media::EXTENSIONS;
use tokio::{task::spawn_blocking, time};

use super::{
    error::{MAX_FILES, SourceError},
    submitter::Refused,
    worker::Worker,
};
use crate::{
    metrics::Refusal,
    spool::{Stamp, Taken},
};

/// Time between two scans of the folder.
const SCAN_PERIOD: Duration = Duration::from_secs(1);
/// The result of taking a file.
enum FileResult {
    /// It was a frame, or is not one.
    Done,
    /// It is changing or gone.
    Later,
    Unreadable(io::Error),
}

/// Files by name.
type Files = HashMap<Vec<u8>, Stamp>;

impl Worker {
    /// Takes files until the folder cannot be read.
    pub(super) async fn watch(&mut self, folder: &Path) -> Result<(), SourceError> {
        let camera = self.submitter.source.camera.clone();
        let mut taken = self.submitter.spool.taken(&camera).await?;
        let (mut before, mut unread) = (Files::new(), Files::new());
        loop {
            let path = folder.to_owned();
            let now = spawn_blocking(move || list(&path)).await;
            let now = now.map_err(io::Error::other).flatten();
            let now = now.map_err(SourceError::Folder)?;
            if now.len() > MAX_FILES {
                return Err(SourceError::TooMany);
            }
            self.up();
            let gone: Vec<_> = taken
                .keys()
                .filter(|name| !now.contains_key(*name))
                .cloned()
                .collect();
            if !gone.is_empty() {
                self.submitter.spool.forget_taken(&camera, &gone).await?;
                taken.retain(|name, _| now.contains_key(name));
            }
            let fresh = now.iter().filter(|(name, stamp)| {
                before.get(*name) == Some(stamp) && taken.get(*name) != Some(stamp)
            });
            let mut fresh: Vec<_> = fresh.map(|(name, stamp)| (*stamp, name.clone())).collect();
            fresh.sort();
            for (stamp, name) in fresh {
                match self.take(folder, &name, stamp).await? {
                    FileResult::Done => {
                        taken.insert(name, stamp);
                    }
                    FileResult::Later => {}
                    // The next scan may be able to read it. It is reported once.
                    FileResult::Unreadable(error) => {
                        if unread.insert(name.clone(), stamp) != Some(stamp) {
                            let sentence = format!("it cannot be read: {error}");
                            let submitter = &self.submitter;
                            submitter.refused(Refusal::BadRequest, &sentence, Some(&name));
                        }
                    }
                }
            }
            unread.retain(|name, _| now.contains_key(name));
            before = now;
            time::sleep(SCAN_PERIOD).await;
        }
    }

    /// Takes one file.
    async fn take(
        &mut self,
        folder: &Path,
        name: &[u8],
        stamp: Stamp,
    ) -> Result<FileResult, SourceError> {
        let path = folder.join(OsString::from_vec(name.to_vec()));
        let most = self.submitter.max_body_bytes as u64;
        let read = spawn_blocking(move || read(&path, most)).await;
        let (bytes, read_as) = match read.map_err(io::Error::other).flatten() {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(FileResult::Later),
            Err(error) => return Ok(FileResult::Unreadable(error)),
        };
        if read_as != stamp {
            return Ok(FileResult::Later);
        }
        let taken = Taken {
            camera: self.submitter.source.camera.clone(),
            name: name.to_vec(),
            stamp,
        };
        self.pace().await;
        match self.submitter.submit(bytes, Some(taken.clone())).await {
            Ok(()) => Ok(FileResult::Done),
            Err(Refused::ForGood) => {
                self.submitter.spool.note_taken(&taken).await?;
                Ok(FileResult::Done)
            }
            Err(Refused::ForNow(sentence)) => Err(SourceError::Later(sentence)),
        }
    }
}

/// Images in the folder; at most one more than are allowed.
fn list(folder: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let hidden = name.as_bytes().first() == Some(&b'.');
        let ending = Path::new(&name).extension().map(|e| e.to_ascii_lowercase());
        let image = ending.is_some_and(|ending| EXTENSIONS.iter().any(|known| ending == *known));
        if hidden || !image {
            continue;
        }
        // Follows links.
        match fs::metadata(folder.join(&name)) {
            Ok(metadata) if metadata.is_file() && metadata.len() > 0 => {
                files.insert(name.into_vec(), stamp(&metadata));
            }
            Ok(_) => {}
            // It was removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // The reason is reported when the file is read.
            Err(_) => {
                files.insert(name.into_vec(), Stamp::default());
            }
        }
        if files.len() > MAX_FILES {
            break;
        }
    }
    Ok(files)
}

/// The file's bytes, at most one more than allowed, and its size and time after reading.
fn read(path: &Path, most: u64) -> io::Result<(Bytes, Stamp)> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    (&mut file).take(most + 1).read_to_end(&mut bytes)?;
    Ok((bytes.into(), stamp(&file.metadata()?)))
}

fn stamp(metadata: &fs::Metadata) -> Stamp {
    let since = metadata
        .modified()
        .ok()
        .and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    Stamp {
        modified_ns: since.map_or(0, |since| since.as_nanos() as i64),
        bytes: metadata.len() as i64,
    }
}
