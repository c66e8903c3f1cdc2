//! Why a source fails.

use std::{io, time::Duration};

use daemon::{error::root_cause, files::FileError};
use media::TooLong;

use super::ffmpeg::FfmpegError;
use crate::spool::SpoolError;

/// Most files of a folder. Each takes about 100 bytes of memory and of the spool.
pub(super) const MAX_FILES: usize = 100_000;

/// Why a source fails, in one sentence. It is tried again later.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error("the folder cannot be read: {0}")]
    Folder(io::Error),
    #[error("the folder has more than {MAX_FILES} images, move some away")]
    TooMany,
    #[error("{0}")]
    Later(String),
    #[error("{}", .0)]
    Spool(#[from] SpoolError),
    #[error("{0}")]
    File(#[from] FileError),
    #[error("{0} is not USER:PASSWORD")]
    Login(String),
    #[error("the login that it asks for is not supported: {0}")]
    Challenge(String),
    #[error("{0} (through the proxy {1}, which the environment names)")]
    Proxy(Box<SourceError>, String),
    #[error("it answers 401 Unauthorized: it needs a login, see login_file")]
    NoLogin,
    #[error("it answers 401 Unauthorized to the login in {0}")]
    Refused(String),
    #[error("it answers {0}")]
    Status(reqwest::StatusCode),
    #[error("it does not answer: {}", root_cause(.0))]
    Http(#[from] reqwest::Error),
    #[error("{0}")]
    Ffmpeg(#[from] FfmpegError),
    #[error("reading the output of ffmpeg failed: {0}")]
    Pipe(io::Error),
    #[error("{0}")]
    TooLong(#[from] TooLong),
    #[error("no frame came for {} seconds", .0.as_secs())]
    Silent(Duration),
    #[error("it ended without a frame")]
    Empty,
    #[error("it ended without a JPEG, and says that it is {0:?}")]
    NoJpeg(String),
}

impl SourceError {
    /// Whether a proxy may be the cause.
    pub(super) fn may_be_proxy(&self) -> bool {
        matches!(self, Self::Status(_) | Self::Http(_) | Self::Silent(_))
    }
}
