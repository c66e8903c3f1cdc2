//! `ffmpeg`, which turns streams and videos into images.

use std::{ffi::OsStr, io, process::Stdio};

use daemon::error::one_line;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, BufReader},
    process::{Child, ChildStdout, Command},
    task::JoinHandle,
};

/// Bytes of its error output that are kept; the last line is reported.
const ERROR_BYTES: usize = 4096;

/// Numbers the frames as if they came at a constant rate, in units of that rate; otherwise ffmpeg duplicates and drops
/// frames. The option that turns this off has different names in old and new versions.
const RENUMBER: &str = "settb=1/25,setpts=N";
/// The output's rate then.
const RENUMBERED: [&str; 2] = ["-r", "25"];

/// A running `ffmpeg`. It is killed when this is dropped.
#[derive(Debug)]
pub struct Ffmpeg {
    child: Child,
    errors: JoinHandle<Vec<u8>>,
    /// One image after the other.
    pub output: BufReader<ChildStdout>,
}

/// Why `ffmpeg` failed.
#[derive(Debug, thiserror::Error)]
pub enum FfmpegError {
    /// It is not installed.
    #[error("ffmpeg is not installed, or not in PATH")]
    Missing,
    /// It does not start.
    #[error("ffmpeg does not start: {0}")]
    Start(io::Error),
    /// It ended with an error.
    #[error("ffmpeg says: {0}")]
    Failed(String),
}

impl Ffmpeg {
    /// Starts it on a file or an address. The output is motion JPEG. `options` are for the input; with `rate`, the
    /// output has that many frames per second.
    ///
    /// # Errors
    /// It is not installed or does not start.
    pub fn start(options: &[&str], input: &OsStr, rate: Option<f64>) -> Result<Self, FfmpegError> {
        let coding = ["-c:v", "mjpeg", "-q:v", "2"];
        match rate {
            Some(rate) => Self::run(options, input, &format!("fps={rate}"), &coding),
            None => Self::run(
                options,
                input,
                RENUMBER,
                &[&coding[..], &RENUMBERED].concat(),
            ),
        }
    }

    /// Starts it on a file. The output is the frames that `filter` passes, as PPM images without loss. `options` are
    /// for the input.
    ///
    /// # Errors
    /// It is not installed or does not start.
    pub fn lossless(options: &[&str], input: &OsStr, filter: &str) -> Result<Self, FfmpegError> {
        let coding = ["-c:v", "ppm", "-pix_fmt", "rgb24"];
        let filter = format!("{filter},{RENUMBER}");
        Self::run(
            options,
            input,
            &filter,
            &[&coding[..], &RENUMBERED].concat(),
        )
    }

    fn run(
        options: &[&str],
        input: &OsStr,
        filter: &str,
        coding: &[&str],
    ) -> Result<Self, FfmpegError> {
        let mut command = Command::new("ffmpeg");
        command.args(["-nostdin", "-hide_banner", "-loglevel", "error"]);
        command.args(options).arg("-i").arg(input);
        command.args(["-an", "-sn", "-vf", filter]).args(coding);
        // Writes each frame at once, not when a buffer is full.
        command.args(["-f", "image2pipe", "-flush_packets", "1", "pipe:1"]);
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
        let (output, errors) = taken.ok_or(FfmpegError::Missing)?;
        Ok(Self {
            child,
            errors: tokio::spawn(last_of(errors)),
            output: BufReader::with_capacity(64 << 10, output),
        })
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Its last error message.
    pub async fn end(mut self) -> Result<(), FfmpegError> {
        let status = self.child.wait().await.map_err(FfmpegError::Start)?;
        if status.success() {
            return Ok(());
        }
        let said = self.errors.await.unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let last = said.lines().rfind(|line| !line.trim().is_empty());
        let message = last.map_or_else(|| status.to_string(), |line| one_line(&line));
        Err(FfmpegError::Failed(message))
    }
}

/// Reads everything, so that the writer never waits, and keeps the last bytes.
async fn last_of(mut reader: impl AsyncRead + Unpin) -> Vec<u8> {
    let (mut last, mut piece) = (Vec::new(), [0; ERROR_BYTES]);
    while let Ok(read @ 1..) = reader.read(&mut piece).await {
        last.extend_from_slice(&piece[..read]);
        last.drain(..last.len().saturating_sub(ERROR_BYTES));
    }
    last
}
