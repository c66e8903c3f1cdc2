//! A service's wall clock, which can be wrong: libfaketime between the process and the C library.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};

use crate::service::Settings;

/// Where Debian and others put it.
const LIBRARIES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib64/faketime/libfaketime.so.1",
];

/// A process reads the file of its clock again after a second, counted in whole ones; and a bit, in milliseconds.
const CACHED_MS: i64 = 2500;

/// The clock of one service, across its restarts.
pub(crate) struct Clock {
    file: PathBuf,
    /// By how many seconds it was wrong, from when on.
    history: Mutex<Vec<(i64, i64)>>,
}

impl Clock {
    /// The true time, for now. `None` where libfaketime is not installed.
    pub(crate) fn new(file: &Path) -> Result<Option<Self>> {
        if library().is_none() {
            return Ok(None);
        }
        let clock = Self {
            file: file.to_owned(),
            history: Mutex::default(),
        };
        clock.skew(0)?;
        Ok(Some(clock))
    }

    /// Environment of a process that is to have this clock. Only the wall clock is changed: timeouts go by the
    /// monotonic one.
    pub(crate) fn environment(&self) -> Result<Settings> {
        let library = library().context("libfaketime is gone")?;
        let settings = [
            ("LD_PRELOAD", library),
            (
                "FAKETIME_TIMESTAMP_FILE",
                self.file.to_str().context("UTF-8")?,
            ),
            ("FAKETIME_CACHE_DURATION", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("FAKETIME_DISABLE_SHM", "1"),
            // A file keeps its time, and so is the same file.
            ("NO_FAKE_STAT", "1"),
        ];
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Ok(settings.into())
    }

    /// Sets the clock wrong by so many seconds, within a second, also in a running process.
    pub(crate) fn skew(&self, seconds: i64) -> Result<()> {
        let fresh = self.file.with_extension("new");
        fs::write(&fresh, format!("{seconds:+}\n"))?;
        fs::rename(&fresh, &self.file)?;
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.push((now_ms(), seconds));
        Ok(())
    }

    /// By how many seconds it may have been wrong at some time within these milliseconds since the Unix epoch.
    pub(crate) fn wrong_within(&self, from_ms: i64, to_ms: i64) -> Vec<i64> {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        within(&history, from_ms, to_ms)
    }
}

fn within(history: &[(i64, i64)], from_ms: i64, to_ms: i64) -> Vec<i64> {
    let ends = history.iter().skip(1).map(|(at, _)| at + CACHED_MS);
    let spans = history.iter().zip(ends.chain([i64::MAX]));
    let overlap = spans.filter(|((begin, _), end)| *begin <= to_ms && *end >= from_ms);
    overlap.map(|((_, seconds), _)| *seconds).collect()
}

/// The true time in milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_millis() as i64
}

fn library() -> Option<&'static str> {
    LIBRARIES.into_iter().find(|path| Path::new(path).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_may_have_been_wrong_by_all_that_it_was_told_meanwhile() {
        let history = [(0, 0), (10_000, 60), (20_000, 0)];
        assert_eq!(within(&history, 1000, 2000), [0]);
        assert_eq!(within(&history, 5000, 12_000), [0, 60]);
        assert_eq!(within(&history, 15_000, 16_000), [60]);
        let just_after = within(&history, 20_500, 21_000);
        assert_eq!(just_after, [60, 0], "the process may not know yet");
        assert_eq!(within(&history, 30_000, 31_000), [0]);
    }
}
