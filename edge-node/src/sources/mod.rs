//! Frames that the node fetches by itself: from a folder, or from a camera's stream.
//!
//! Each source has its own task, with at most one frame in progress. A folder waits for a free slot and loses no frame.
//! A stream does not wait: the node takes its newest frame whenever it can, and counts the others as skipped. A source
//! that fails is tried again after a random wait that grows with each failure.

mod camera;
mod error;
mod ffmpeg;
mod folder;
mod status;
mod stream;
mod submitter;
mod worker;

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::ffmpeg::{Ffmpeg, FfmpegError};
pub(crate) use self::status::{SourceStatus, Statuses};
use self::{submitter::Submitter, worker::Worker};
use crate::{config::Config, metrics::Metrics, pipeline::Pipeline, spool::Spool};

/// Fetches from all sources until `stop`.
pub(crate) async fn run(
    config: Config,
    statuses: Statuses,
    pipeline: Arc<Pipeline>,
    spool: Arc<Spool>,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let mut tasks = JoinSet::new();
    for (index, source) in config.sources.into_iter().enumerate() {
        let worker = Worker::new(Submitter {
            source,
            index,
            statuses: statuses.clone(),
            pipeline: Arc::clone(&pipeline),
            spool: Arc::clone(&spool),
            metrics: metrics.clone(),
            max_body_bytes: config.http.max_body_bytes,
        });
        tasks.spawn(stop.clone().run_until_cancelled_owned(worker.run()));
    }
    tasks.join_all().await;
}
