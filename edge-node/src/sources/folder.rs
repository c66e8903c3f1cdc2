//! A folder that a camera, or a person, puts images into.
//!
//! A file is taken once it has stayed the same from one look to the next, and once only, also over restarts: the spool
//! notes it in the transaction that stores its frame. A file that changes later is another frame. Files stay where they
//! are; names that begin with a dot, other names than images', and folders inside are left alone.

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
use tokio::{task::spawn_blocking, time};

use super::{Feed, Refused, SourceError};
use crate::spool::{Stamp, Taken};

/// Time between two looks at the folder.
const PERIOD: Duration = Duration::from_secs(1);
/// Most files of a folder; each takes about 100 bytes of memory and of the spool.
pub(super) const MAX_FILES: usize = 100_000;
/// Endings of the names of images.
const ENDINGS: [&str; 6] = ["jpg", "jpeg", "png", "webp", "ppm", "pnm"];

/// What is in the folder, or was, by name.
type Files = HashMap<Vec<u8>, Stamp>;

impl Feed {
    /// Takes files until the folder cannot be read.
    pub(super) async fn watch(&mut self, folder: &Path) -> Result<(), SourceError> {
        let camera = self.desk.source.camera.clone();
        let mut taken = self.desk.node.spool.taken(&camera).await?;
        let mut before = Files::new();
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
                self.desk.node.spool.forget_taken(&camera, &gone).await?;
                taken.retain(|name, _| now.contains_key(name));
            }
            let fresh = now.iter().filter(|(name, stamp)| {
                before.get(*name) == Some(stamp) && taken.get(*name) != Some(stamp)
            });
            let mut fresh: Vec<_> = fresh.map(|(name, stamp)| (*stamp, name.clone())).collect();
            fresh.sort();
            for (stamp, name) in fresh {
                if self.take(folder, &name, stamp).await? {
                    taken.insert(name, stamp);
                }
            }
            before = now;
            time::sleep(PERIOD).await;
        }
    }

    /// Takes one file; whether it is done with.
    async fn take(
        &mut self,
        folder: &Path,
        name: &[u8],
        stamp: Stamp,
    ) -> Result<bool, SourceError> {
        let path = folder.join(OsString::from_vec(name.to_vec()));
        let most = self.desk.node.config.http.max_body_bytes as u64;
        let reading = path.clone();
        let read = spawn_blocking(move || read(&reading, most)).await;
        let (bytes, read_as) = match read.map_err(io::Error::other).flatten() {
            Ok(read) => read,
            Err(error) => {
                // It may be gone, or come into its own with the next look.
                tracing::debug!(file = %path.display(), %error, "cannot read a file");
                return Ok(false);
            }
        };
        if read_as != stamp {
            return Ok(false);
        }
        let taken = Taken {
            camera: self.desk.source.camera.clone(),
            name: name.to_vec(),
            stamp,
        };
        self.pace().await;
        match self.desk.submit(bytes, Some(taken.clone())).await {
            Ok(()) => Ok(true),
            Err(Refused::ForGood(sentence)) => {
                tracing::warn!(file = %path.display(), error = sentence, "a file is no frame");
                self.desk.node.spool.note_taken(&taken).await?;
                Ok(true)
            }
            Err(Refused::ForNow(sentence)) => Err(SourceError::Later(sentence)),
        }
    }
}

/// Images in the folder; one more than are allowed at most.
fn list(folder: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let hidden = name.as_bytes().first() == Some(&b'.');
        let ending = Path::new(&name).extension().map(|e| e.to_ascii_lowercase());
        let image = ending.is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known));
        if hidden || !image {
            continue;
        }
        // A file that left meanwhile is none; a link leads to what it names.
        let Ok(metadata) = fs::metadata(folder.join(&name)) else {
            continue;
        };
        if metadata.is_file() && metadata.len() > 0 {
            files.insert(name.into_vec(), stamp(&metadata));
        }
        if files.len() > MAX_FILES {
            break;
        }
    }
    Ok(files)
}

/// The file's bytes, one more than allowed at most, and what it was when all were read.
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
