//! Files that an operator exchanges while the service runs, such as certificates and tokens. [`Live`] is a value that
//! follows such files.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::watch, task::spawn_blocking, time};

/// How often the files are read again.
pub const PERIOD: Duration = Duration::from_secs(2);
/// Largest file, in bytes: no program, prior, certificate or token has as many.
pub const MAX_BYTES: u64 = 16 << 20;

/// Why a file cannot be used, in one sentence.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It does not exist or cannot be read.
    #[error("{} cannot be read: {error}", .0.display(), error = .1)]
    Read(PathBuf, io::Error),
    /// It is larger than [`MAX_BYTES`].
    #[error("{} is larger than {MAX_BYTES} bytes", .0.display())]
    TooLarge(PathBuf),
    /// Its contents cannot be used.
    #[error("{} {reason}", .0.display(), reason = .1)]
    Content(PathBuf, String),
}

/// Reads a file of [`MAX_BYTES`] at most.
///
/// # Errors
/// The file is larger or cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| FileError::Read(path.to_owned(), error))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(FileError::TooLarge(path.to_owned()));
    }
    Ok(bytes)
}

/// A value that is made of the contents of files, and made again when these change, until the last copy is dropped.
/// Files that cannot be used leave the value as it was, and are reported in the log.
#[derive(Debug)]
pub struct Live<T>(watch::Receiver<Arc<T>>);

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Send + Sync + 'static> Live<T> {
    /// Reads the files and makes a value of their contents, and does so again whenever these change.
    ///
    /// # Errors
    /// The files cannot be used now.
    pub fn start(
        paths: Vec<PathBuf>,
        make: impl Fn(&[Vec<u8>]) -> Result<T, FileError> + Send + Sync + 'static,
    ) -> Result<Self, FileError> {
        let names: Vec<_> = paths.iter().map(|p| p.display().to_string()).collect();
        let read = move || {
            paths
                .iter()
                .map(|path| read(path))
                .collect::<Result<Vec<_>, _>>()
        };
        Self::follow(names.join(", "), read, move |contents| make(contents))
    }

    /// Like [`start`](Self::start), for files that are only known while reading: `read` returns their contents. `names`
    /// is their name in the log.
    ///
    /// # Errors
    /// The files cannot be used now.
    pub fn follow<C: PartialEq + Send + Sync + 'static>(
        names: String,
        read: impl Fn() -> Result<C, FileError> + Send + Sync + 'static,
        make: impl Fn(&C) -> Result<T, FileError> + Send + Sync + 'static,
    ) -> Result<Self, FileError> {
        let contents = read()?;
        let (sender, receiver) = watch::channel(Arc::new(make(&contents)?));
        let source = Source { read, make };
        tokio::spawn(follow(names, Arc::new(source), contents, sender));
        Ok(Self(receiver))
    }

    /// The value now.
    pub fn get(&self) -> Arc<T> {
        self.0.borrow().clone()
    }

    /// Waits until the value is another one than this, which [`get`](Self::get) returned; forever if it never changes.
    pub async fn changed_from(&self, value: &Arc<T>) {
        let mut receiver = self.0.clone();
        let changed = receiver.wait_for(|now| !Arc::ptr_eq(now, value));
        if changed.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until `condition` holds for the value; forever if it never does.
    pub async fn until(&self, mut condition: impl FnMut(&T) -> bool) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|value| condition(value)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// How values are made.
struct Source<R, M> {
    read: R,
    make: M,
}

async fn follow<C, T, R, M>(
    names: String,
    source: Arc<Source<R, M>>,
    contents: C,
    sender: watch::Sender<Arc<T>>,
) where
    C: PartialEq + Send + Sync + 'static,
    T: Send + Sync + 'static,
    R: Fn() -> Result<C, FileError> + Send + Sync + 'static,
    M: Fn(&C) -> Result<T, FileError> + Send + Sync + 'static,
{
    let mut seen = Arc::new(contents);
    let mut reported = String::new();
    loop {
        tokio::select! {
            () = sender.closed() => return,
            () = time::sleep(PERIOD) => {}
        }
        let (source, before) = (Arc::clone(&source), Arc::clone(&seen));
        let look = move || match (source.read)() {
            Ok(contents) if contents == *before => Ok(None),
            Ok(contents) => {
                let made = (source.make)(&contents);
                Ok(Some((contents, made)))
            }
            Err(error) => Err(error),
        };
        let made = match spawn_blocking(look).await {
            Ok(Ok(None)) => continue,
            Ok(Ok(Some((contents, made)))) => {
                seen = Arc::new(contents);
                made
            }
            Ok(Err(error)) => Err(error),
            Err(_) => return,
        };
        match made {
            Ok(value) => {
                sender.send_replace(Arc::new(value));
                reported.clear();
                tracing::info!(files = names, "read again");
            }
            Err(error) => {
                let sentence = error.to_string();
                if sentence != reported {
                    tracing::error!(error = sentence, "the old contents stay in use");
                    reported = sentence;
                }
            }
        }
    }
}
