//! How the networks are measured.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Operations per second of one core by instruction set, measured on registers alone.
pub(super) type Peaks = BTreeMap<String, f64>;

/// The median time of `work`, done at least three times and for as long as `span`.
pub(super) fn median_time<T>(
    span: Duration,
    mut work: impl FnMut() -> Result<T>,
) -> Result<Duration> {
    let (started, mut times) = (Instant::now(), Vec::new());
    while times.len() < 3 || started.elapsed() < span {
        let start = Instant::now();
        std::hint::black_box(work()?);
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

/// A pool with this number of threads.
pub(super) fn pool(threads: usize) -> Result<rayon::ThreadPool> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.context("cannot start threads")
}
