//! A camera's stream: motion JPEG over HTTP, or anything that ffmpeg reads.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use media::Jpegs;
use reqwest::{Url, header::CONTENT_TYPE};
use tokio::{
    io::AsyncReadExt as _,
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};

use super::{camera::proxied, error::SourceError, ffmpeg::Ffmpeg, worker::Worker};
use crate::metrics::SourceOutcome;

/// A stream without a frame for this long has failed, unless its rate asks for fewer frames.
const SILENCE: Duration = Duration::from_secs(60);
/// Bytes of one read.
const PIECE: usize = 64 << 10;

/// The bytes of a stream.
enum Pipe {
    Http(reqwest::Response),
    Ffmpeg(Ffmpeg),
}

impl Pipe {
    /// The next bytes; `None` at the end.
    async fn read(&mut self) -> Result<Option<Bytes>, SourceError> {
        match self {
            Self::Http(response) => Ok(response.chunk().await?),
            Self::Ffmpeg(ffmpeg) => {
                let mut piece = vec![0; PIECE];
                let read = ffmpeg.output.read(&mut piece).await;
                let read = read.map_err(SourceError::Pipe)?;
                piece.truncate(read);
                Ok((read > 0).then(|| piece.into()))
            }
        }
    }
}

impl Worker {
    /// Follows a stream of motion JPEG, or takes the single JPEG that the address serves.
    pub(super) async fn mjpeg(&mut self, url: &str) -> Result<(), SourceError> {
        let followed = self.mjpeg_now(url).await;
        followed.map_err(|error| match proxied(url) {
            Some(proxy) if error.may_be_proxy() => SourceError::Proxy(Box::new(error), proxy),
            _ => error,
        })
    }

    async fn mjpeg_now(&mut self, url: &str) -> Result<(), SourceError> {
        let answer = timeout(SILENCE, self.open(url)).await;
        let answer = answer.map_err(|_| SourceError::Silent(SILENCE))??;
        let kind = answer.headers().get(CONTENT_TYPE).cloned();
        let followed = self.follow(&mut Pipe::Http(answer)).await;
        followed.map_err(|error| match (error, kind) {
            (SourceError::Empty, Some(kind)) => {
                SourceError::NoJpeg(String::from_utf8_lossy(kind.as_bytes()).into_owned())
            }
            (error, _) => error,
        })
    }

    /// Follows a stream through ffmpeg.
    pub(super) async fn rtsp(&mut self, url: &str) -> Result<(), SourceError> {
        let mut address = Url::parse(url).map_err(|error| SourceError::Later(error.to_string()))?;
        if let Some(login) = self.login()? {
            let set = address.set_username(&login.user);
            if set
                .and(address.set_password(Some(&login.password)))
                .is_err()
            {
                return Err(SourceError::Later("the address takes no login".into()));
            }
        }
        let options = ["-rtsp_transport", "tcp"];
        let ffmpeg = Ffmpeg::start(
            &options,
            address.as_str().as_ref(),
            self.submitter.source.rate,
        )?;
        let mut pipe = Pipe::Ffmpeg(ffmpeg);
        let followed = self.follow(&mut pipe).await;
        if let (Ok(_) | Err(SourceError::Empty), Pipe::Ffmpeg(ffmpeg)) = (&followed, pipe) {
            // Its message may contain the login.
            ffmpeg.end().await.map_err(|error| {
                let message = error.to_string();
                SourceError::Later(message.replace(address.as_str(), url))
            })?;
        }
        followed
    }

    /// Takes frames until the stream ends, as many as there are free slots for.
    async fn follow(&mut self, pipe: &mut Pipe) -> Result<(), SourceError> {
        let between = self.submitter.source.rate.map_or(0.0, |rate| 2.0 / rate);
        let silence = SILENCE + Duration::from_secs_f64(between);
        let mut jpegs = Jpegs::new(self.submitter.max_body_bytes);
        let mut in_progress: Option<JoinHandle<()>> = None;
        let mut deadline = Instant::now() + silence;
        // ffmpeg delivers frames at the rate that it was asked for.
        let paced = matches!(pipe, Pipe::Http(_));
        let mut came = false;
        let mut ended = false;
        while !ended {
            let piece = timeout_at(deadline, pipe.read()).await;
            let piece = piece.map_err(|_| SourceError::Silent(silence))??;
            ended = piece.is_none();
            jpegs.push(&piece.unwrap_or_default());
            while let Some(frame) = if ended {
                jpegs.take_rest()
            } else {
                jpegs.take()
            }? {
                deadline = Instant::now() + silence;
                came = true;
                self.up();
                let busy = in_progress.as_ref().is_some_and(|task| !task.is_finished());
                if busy || paced && Instant::now() < self.due {
                    self.submitter.count(SourceOutcome::Skipped);
                    continue;
                }
                self.took();
                in_progress = Some(self.offer(frame));
            }
        }
        if let Some(task) = in_progress {
            task.await.ok();
        }
        if came {
            Ok(())
        } else {
            Err(SourceError::Empty)
        }
    }

    /// Encodes a frame while reading goes on.
    fn offer(&self, frame: Bytes) -> JoinHandle<()> {
        let submitter = Arc::clone(&self.submitter);
        tokio::spawn(async move {
            // A refusal is counted and logged where it happens.
            submitter.submit(frame, None).await.ok();
        })
    }
}
