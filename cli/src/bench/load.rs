//! The pair of services under load: frames in over HTTP, encoded, spooled, sent, decoded and measured.

use std::io::Cursor;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::future::try_join_all;
use image::ImageFormat;
use patchwire_proto::v1::FrameState;
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::args::Task;
use crate::demo::samples;
use crate::edge::Edge;
use crate::pair::{Pair, Settings};
use crate::watch::Watch;

const SIZES: [(u32, u32); 3] = [(640, 480), (1280, 720), (1920, 1080)];
/// By the name of their decoder. The smallest share is the default of an edge node.
const PAIRS: [(&str, Settings); 3] = [
    ("large", pair(false, 1.0)),
    ("fast", pair(true, 1.0)),
    ("fast", pair(true, 0.01)),
];

const fn pair(fast: bool, originals_share: f64) -> Settings {
    Settings {
        fast,
        originals_share,
    }
}

/// Frames on their way at a time, for the rate.
const IN_FLIGHT: usize = 4;
/// Frames that are sent one after the other at most, for the latency.
const LATENCIES: usize = 200;
/// Longest wait for a frame.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pair at one size of frames.
#[derive(Debug, Serialize)]
pub(super) struct PairFigures {
    /// That the cloud decodes with, of those that are shipped.
    pub(super) decoder: &'static str,
    /// Share of frames that bring their original and are measured in full.
    pub(super) originals_share: f64,
    pub(super) width: u32,
    pub(super) height: u32,
    /// With four frames on their way.
    pub(super) frames_per_s: f64,
    /// From the post to the measured result at the cloud, one frame after the other.
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// Peak memory of the process meanwhile; `None` if the system does not report it.
    pub(super) rss_mb: Option<f64>,
}

/// A new pair for each size, each measurement as long as `span`.
#[tokio::main]
pub(super) async fn measure(span: Duration) -> Result<Vec<PairFigures>> {
    let mut rows = Vec::new();
    let pairs = PAIRS.iter().flat_map(|pair| SIZES.map(|size| (pair, size)));
    for (&(decoder, settings), (width, height)) in pairs {
        let frame = photograph(width, height)?;
        forget_peak_memory();
        let mut pair = Pair::start(None, "bench", settings).await?;
        let measured = one_size(&pair.node, &mut pair.watch, &frame, span).await;
        pair.shutdown().await;
        let (frames_per_s, mut latencies) = measured?;
        latencies.sort_unstable();
        let percentile = |percent: usize| {
            let index = (latencies.len() * percent / 100).min(latencies.len() - 1);
            1e3 * latencies[index].as_secs_f64()
        };
        rows.push(PairFigures {
            decoder,
            originals_share: settings.originals_share,
            width,
            height,
            frames_per_s,
            p50_ms: percentile(50),
            p99_ms: percentile(99),
            rss_mb: peak_memory(),
        });
    }
    Ok(rows)
}

/// A sample photograph of this size, as a camera would send it.
fn photograph(width: u32, height: u32) -> Result<Vec<u8>> {
    let photograph = samples(width, height)?.next();
    let photograph = photograph.context("there are no samples")??;
    let mut jpeg = Cursor::new(Vec::new());
    photograph.write_to(&mut jpeg, ImageFormat::Jpeg)?;
    Ok(jpeg.into_inner())
}

/// Frames per second, and times of single frames.
async fn one_size(
    edge: &Edge,
    watch: &mut Watch,
    frame: &[u8],
    span: Duration,
) -> Result<(f64, Vec<Duration>)> {
    // The first frame pays for buffers, caches and files.
    post(edge, frame).await?;
    finished(watch).await?;
    let (started, mut latencies) = (Instant::now(), Vec::new());
    while latencies.is_empty() || (started.elapsed() < span && latencies.len() < LATENCIES) {
        let start = Instant::now();
        post(edge, frame).await?;
        finished(watch).await?;
        latencies.push(start.elapsed());
    }

    let (started, permits) = (Instant::now(), Semaphore::new(IN_FLIGHT));
    let poster = async || {
        let mut posted = 0;
        while started.elapsed() < span {
            // Given back when the frame is finished.
            permits.acquire().await?.forget();
            post(edge, frame).await?;
            posted += 1;
        }
        anyhow::Ok(posted)
    };
    let mut posters = std::pin::pin!(try_join_all((0..IN_FLIGHT).map(|_| poster())));
    let (mut posted, mut done) = (None, 0);
    while posted != Some(done) {
        tokio::select! {
            counts = &mut posters, if posted.is_none() => {
                posted = Some(counts?.into_iter().sum::<u32>());
            }
            outcome = finished(watch) => {
                outcome?;
                done += 1;
                permits.add_permits(1);
            }
        }
    }
    Ok((f64::from(done) / started.elapsed().as_secs_f64(), latencies))
}

async fn post(edge: &Edge, frame: &[u8]) -> Result<()> {
    match edge.submit("bench", Task::Compress, frame).await? {
        Ok(_) => Ok(()),
        Err(reason) => bail!("the edge node refused a frame: {reason}"),
    }
}

/// Waits until a frame, whichever it is, has been rebuilt and measured. Dropping the future loses nothing.
async fn finished(watch: &mut Watch) -> Result<()> {
    let next = async {
        loop {
            let record = watch
                .next()
                .await?
                .context("changes of frames were missed")?;
            match record.state() {
                FrameState::Decoded if record.quality.is_some() => return Ok(()),
                FrameState::Failed => bail!("the cloud failed a frame: {}", record.failure),
                _ => {}
            }
        }
    };
    let waited = tokio::time::timeout(PATIENCE, next).await;
    waited.context("a frame did not come back in a minute")?
}

/// Lets [`peak_memory`] begin anew, where the system can: Linux takes this for "reset the peak resident set size".
fn forget_peak_memory() {
    std::fs::write("/proc/self/clear_refs", "5").ok();
}

/// Peak resident memory of this process in MB, as Linux reports it.
fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0 / 1e6)
}
