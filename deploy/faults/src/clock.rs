//! A service's wall clock, which can be wrong: libfaketime between the process and the C library.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::service::Settings;

/// Where Debian and others put it.
const LIBRARIES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib64/faketime/libfaketime.so.1",
];

/// The clock of one service, across its restarts.
pub(crate) struct Clock {
    file: PathBuf,
}

impl Clock {
    /// The true time, for now. `None` where libfaketime is not installed.
    pub(crate) fn new(file: &Path) -> Result<Option<Self>> {
        if library().is_none() {
            return Ok(None);
        }
        let clock = Self {
            file: file.to_owned(),
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
        ];
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Ok(settings.into())
    }

    /// Sets the clock wrong by so many seconds, within a second, also in a process that runs.
    pub(crate) fn skew(&self, seconds: i64) -> Result<()> {
        let fresh = self.file.with_extension("new");
        fs::write(&fresh, format!("{seconds:+}\n"))?;
        fs::rename(&fresh, &self.file)?;
        Ok(())
    }
}

fn library() -> Option<&'static str> {
    LIBRARIES.into_iter().find(|path| Path::new(path).exists())
}
