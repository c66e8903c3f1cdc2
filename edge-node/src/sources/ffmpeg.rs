//! `ffmpeg`, which turns what the node cannot read into motion JPEG.

use std::{ffi::OsStr, io, process::Stdio};

use daemon::error::one_line;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, BufReader},
    process::{Child, ChildStdout, Command},
    task::JoinHandle,
};

/// Bytes of its complaints that are kept; the last line is told.
const COMPLAINT_BYTES: usize = 4096;

/// `ffmpeg` at work. It ends when this is dropped.
#[derive(Debug)]
pub struct Ffmpeg {
    child: Child,
    complaints: JoinHandle<Vec<u8>>,
    /// Motion JPEG.
    pub output: BufReader<ChildStdout>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum FfmpegError {
    /// It is not installed.
    #[error("ffmpeg is not installed, or not in PATH")]
    Missing,
    /// It does not start.
    #[error("ffmpeg does not start: {0}")]
    Start(io::Error),
    /// It gave up.
    #[error("ffmpeg says: {0}")]
    Failed(String),
}

impl Ffmpeg {
    /// Starts it on a file or an address. `options` are for the input; with `rate`, each second has so many frames.
    ///
    /// # Errors
    /// It is not installed or does not start.
    pub fn start(options: &[&str], input: &OsStr, rate: Option<f64>) -> Result<Self, FfmpegError> {
        let mut command = Command::new("ffmpeg");
        command.args(["-nostdin", "-hide_banner", "-loglevel", "error"]);
        command
            .args(options)
            .arg("-i")
            .arg(input)
            .args(["-an", "-sn"]);
        match rate {
            Some(rate) => command.args(["-vf", &format!("fps={rate}")]),
            // As if they came at a constant rate: otherwise frames of a variable one are doubled to make it so. The option that says
            // this has another name in old versions than in new ones.
            None => command.args(["-vf", "setpts=N/25/TB", "-r", "25"]),
        };
        // Each frame is written as it is made, not when a buffer is full.
        command.args(["-f", "image2pipe", "-flush_packets", "1"]);
        command.args(["-c:v", "mjpeg", "-q:v", "2", "pipe:1"]);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => FfmpegError::Missing,
                _ => FfmpegError::Start(error),
            })?;
        let taken = child.stdout.take().zip(child.stderr.take());
        let (output, complaints) = taken.ok_or(FfmpegError::Missing)?;
        Ok(Self {
            child,
            complaints: tokio::spawn(last_of(complaints)),
            output: BufReader::with_capacity(64 << 10, output),
        })
    }

    /// Waits for its end, and tells how that was.
    ///
    /// # Errors
    /// What it complained of last.
    pub async fn end(mut self) -> Result<(), FfmpegError> {
        let status = self.child.wait().await.map_err(FfmpegError::Start)?;
        if status.success() {
            return Ok(());
        }
        let said = self.complaints.await.unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let last = said.lines().rfind(|line| !line.trim().is_empty());
        let told = last.map_or_else(|| status.to_string(), |line| one_line(&line));
        Err(FfmpegError::Failed(told))
    }
}

/// Reads all, so that the writer never waits, and keeps the last bytes.
async fn last_of(mut reader: impl AsyncRead + Unpin) -> Vec<u8> {
    let (mut last, mut piece) = (Vec::new(), [0; COMPLAINT_BYTES]);
    while let Ok(read @ 1..) = reader.read(&mut piece).await {
        last.extend_from_slice(&piece[..read]);
        last.drain(..last.len().saturating_sub(COMPLAINT_BYTES));
    }
    last
}
