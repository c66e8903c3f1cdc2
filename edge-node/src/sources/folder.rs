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
use media::EXTENSIONS;
use tokio::{task::spawn_blocking, time};

use super::{Feed, Refused, SourceError};
use crate::{
    metrics::Refusal,
    spool::{Stamp, Taken},
};

/// Time between two looks at the folder.
const PERIOD: Duration = Duration::from_secs(1);
/// Most files of a folder; each takes about 100 bytes of memory and of the spool.
pub(super) const MAX_FILES: usize = 100_000;
/// How a look at a file ended.
enum Looked {
    /// It is a frame, or none.
    Done,
    /// It changes, or is gone.
    Later,
    Unread(io::Error),
}

/// What is in the folder, or was, by name.
type Files = HashMap<Vec<u8>, Stamp>;

impl Feed {
    /// Takes files until the folder cannot be read.
    pub(super) async fn watch(&mut self, folder: &Path) -> Result<(), SourceError> {
        let camera = self.desk.source.camera.clone();
        let mut taken = self.desk.node.spool.taken(&camera).await?;
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
                self.desk.node.spool.forget_taken(&camera, &gone).await?;
                taken.retain(|name, _| now.contains_key(name));
            }
            let fresh = now.iter().filter(|(name, stamp)| {
                before.get(*name) == Some(stamp) && taken.get(*name) != Some(stamp)
            });
            let mut fresh: Vec<_> = fresh.map(|(name, stamp)| (*stamp, name.clone())).collect();
            fresh.sort();
            for (stamp, name) in fresh {
                match self.take(folder, &name, stamp).await? {
                    Looked::Done => {
                        taken.insert(name, stamp);
                    }
                    Looked::Later => {}
                    // It may be read with the next look, and is told once.
                    Looked::Unread(error) => {
                        if unread.insert(name.clone(), stamp) != Some(stamp) {
                            let sentence = format!("it cannot be read: {error}");
                            let desk = &self.desk;
                            desk.refused(Refusal::BadRequest, &sentence, Some(&name));
                        }
                    }
                }
            }
            unread.retain(|name, _| now.contains_key(name));
            before = now;
            time::sleep(PERIOD).await;
        }
    }

    /// Takes one file.
    async fn take(
        &mut self,
        folder: &Path,
        name: &[u8],
        stamp: Stamp,
    ) -> Result<Looked, SourceError> {
        let path = folder.join(OsString::from_vec(name.to_vec()));
        let most = self.desk.node.config.http.max_body_bytes as u64;
        let read = spawn_blocking(move || read(&path, most)).await;
        let (bytes, read_as) = match read.map_err(io::Error::other).flatten() {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Looked::Later),
            Err(error) => return Ok(Looked::Unread(error)),
        };
        if read_as != stamp {
            return Ok(Looked::Later);
        }
        let taken = Taken {
            camera: self.desk.source.camera.clone(),
            name: name.to_vec(),
            stamp,
        };
        self.pace().await;
        match self.desk.submit(bytes, Some(taken.clone())).await {
            Ok(()) => Ok(Looked::Done),
            Err(Refused::ForGood) => {
                self.desk.node.spool.note_taken(&taken).await?;
                Ok(Looked::Done)
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
        let image = ending.is_some_and(|ending| EXTENSIONS.iter().any(|known| ending == *known));
        if hidden || !image {
            continue;
        }
        // A link leads to what it names.
        match fs::metadata(folder.join(&name)) {
            Ok(metadata) if metadata.is_file() && metadata.len() > 0 => {
                files.insert(name.into_vec(), stamp(&metadata));
            }
            Ok(_) => {}
            // It left meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // Why, it is told when it is read.
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
