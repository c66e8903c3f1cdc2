//! Certificates and tokens lie in files that an operator exchanges while the service runs: [`Live`] is what
//! such files say now.

use std::{
    fs::File,
    io::{self, Read as _},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use tokio::{sync::watch, task::spawn_blocking, time};

/// How often the files are read again.
pub const PERIOD: Duration = Duration::from_secs(2);
/// Largest file, in bytes.
pub const MAX_BYTES: u64 = 1 << 20;

/// Why a file cannot be used, in one sentence.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not there, or may not be read.
    #[error("{} cannot be read: {error}", .0.display(), error = .1)]
    Read(PathBuf, io::Error),
    /// It is larger than [`MAX_BYTES`].
    #[error("{} is larger than {MAX_BYTES} bytes", .0.display())]
    TooLarge(PathBuf),
    /// It does not say what it should.
    #[error("{} {reason}", .0.display(), reason = .1)]
    Content(PathBuf, String),
}

/// Reads a file of [`MAX_BYTES`] at most.
///
/// # Errors
/// It is larger or cannot be read.
pub fn read(path: &PathBuf) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| FileError::Read(path.clone(), error))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(FileError::TooLarge(path.clone()));
    }
    Ok(bytes)
}

/// What some files say, kept up to date until the last copy is dropped. Files that cannot be used leave it
/// as it was, and are told in the log.
#[derive(Debug)]
pub struct Live<T>(watch::Receiver<Arc<T>>);

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Send + Sync + 'static> Live<T> {
    /// Reads the files, makes a value of their contents, and does so again whenever these change.
    ///
    /// # Errors
    /// The files cannot be used now.
    pub fn start(
        paths: Vec<PathBuf>,
        make: impl Fn(&[Vec<u8>]) -> Result<T, FileError> + Send + Sync + 'static,
    ) -> Result<Self, FileError> {
        let contents = read_all(&paths)?;
        let (sender, receiver) = watch::channel(Arc::new(make(&contents)?));
        tokio::spawn(follow(paths, make, contents, sender));
        Ok(Self(receiver))
    }

    /// What they say now.
    pub fn get(&self) -> Arc<T> {
        self.0.borrow().clone()
    }

    /// Waits until `condition` holds for what they say; for good if it never does.
    pub async fn until(&self, mut condition: impl FnMut(&T) -> bool) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|value| condition(value)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn read_all(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, FileError> {
    paths.iter().map(read).collect()
}

async fn follow<T: Send + Sync + 'static>(
    paths: Vec<PathBuf>,
    make: impl Fn(&[Vec<u8>]) -> Result<T, FileError> + Send + Sync + 'static,
    mut seen: Vec<Vec<u8>>,
    sender: watch::Sender<Arc<T>>,
) {
    let paths = Arc::new(paths);
    let names = || {
        let names: Vec<_> = paths.iter().map(|p| p.display().to_string()).collect();
        names.join(", ")
    };
    let mut told = String::new();
    loop {
        tokio::select! {
            () = sender.closed() => return,
            () = time::sleep(PERIOD) => {}
        }
        let of = Arc::clone(&paths);
        let made = match spawn_blocking(move || read_all(&of)).await {
            Ok(Ok(contents)) if contents == seen => continue,
            Ok(Ok(contents)) => {
                seen = contents;
                make(&seen)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => return,
        };
        match made {
            Ok(value) => {
                sender.send_replace(Arc::new(value));
                told.clear();
                tracing::info!(files = names(), "read again");
            }
            Err(error) => {
                let sentence = error.to_string();
                if sentence != told {
                    tracing::error!(error = sentence, "the old contents stay in use");
                    told = sentence;
                }
            }
        }
    }
}
