//! The task of one source: it fetches until the source fails, waits, and tries again.

use std::{sync::Arc, time::Duration};

use daemon::{backoff::Backoff, error::one_line};
use http_auth::PasswordClient;
use tokio::time::{Instant, sleep_until};

use super::{error::SourceError, submitter::Submitter};
use crate::config::Address;

/// Bounds of the first wait after a failure and of all waits, in milliseconds.
const BACKOFF_MS: (u64, u64) = (250, 30_000);

/// The task of one source.
pub(super) struct Worker {
    pub(super) submitter: Arc<Submitter>,
    /// When the next frame may be taken.
    pub(super) due: Instant,
    backoff: Backoff,
    /// The login that the camera asks for.
    pub(super) challenge: Option<PasswordClient>,
}

impl Worker {
    pub(super) fn new(submitter: Submitter) -> Self {
        Self {
            submitter: Arc::new(submitter),
            due: Instant::now(),
            backoff: Backoff::new(BACKOFF_MS.0, BACKOFF_MS.1),
            challenge: None,
        }
    }

    /// Fetches for good.
    pub(super) async fn run(mut self) {
        let source = self.submitter.source.clone();
        loop {
            let result = match source.address() {
                Some(Address::Folder(folder)) => self.watch(folder).await,
                Some(Address::Mjpeg(url)) => self.mjpeg(url).await,
                Some(Address::Rtsp(url)) => self.rtsp(url).await,
                None => return,
            };
            // A stream that ended after some frames counts as up until the next attempt.
            if let Err(error) = result {
                self.down(&error);
            }
            let wait = Instant::now() + self.backoff.wait();
            sleep_until(wait.max(self.due)).await;
        }
    }

    /// Notes that the source works.
    pub(super) fn up(&mut self) {
        self.backoff.reset();
        let was_up = self.submitter.update(|status| {
            status.error = None;
            std::mem::replace(&mut status.up, true)
        });
        if !was_up {
            self.submitter.metrics.sources_up.inc();
            tracing::info!(camera = self.submitter.source.camera, "a source is up");
        }
    }

    /// Notes a failure; the same one is logged once.
    fn down(&self, error: &SourceError) {
        let error = one_line(error);
        let (was_up, is_known) = self.submitter.update(|status| {
            let is_known = status.error.replace(error.clone()).as_ref() == Some(&error);
            (std::mem::replace(&mut status.up, false), is_known)
        });
        if was_up {
            self.submitter.metrics.sources_up.dec();
        }
        self.submitter.metrics.source_failures.inc();
        if !is_known {
            tracing::warn!(
                camera = self.submitter.source.camera,
                error,
                "a source is down"
            );
        }
    }

    /// Waits until the next frame may be taken.
    pub(super) async fn pace(&mut self) {
        sleep_until(self.due).await;
        self.took();
    }

    /// Notes that a frame is taken now.
    pub(super) fn took(&mut self) {
        if let Some(rate) = self.submitter.source.rate {
            // A frame that came late does not make the next one late.
            let period = Duration::from_secs_f64(1.0 / rate);
            let now = Instant::now();
            let on_time = if self.due + period > now {
                self.due
            } else {
                now
            };
            self.due = on_time + period;
        }
    }
}
