//! Everything that a run needs: two edge nodes, a cloud, the link, disks and clocks.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::{
    audit::{self, json, listed},
    book::Book,
    clock::Clock,
    disk::Disk,
    ledger::Ledger,
    models::Models,
    proxy::Proxy,
    service::{Service, Settings, binaries},
};

/// A run that makes no progress for so long is not waited for.
const STUCK_AFTER: Duration = Duration::from_secs(180);
/// How often the services are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// File of an edge node's spool in its folder.
const SPOOL: &str = "spool.sqlite";

/// A service with what can be done to it.
pub(crate) struct Place {
    pub(crate) service: Service,
    /// Of an edge node alone.
    pub(crate) spool: PathBuf,
    /// `None` where mounting is not allowed.
    pub(crate) disk: Option<Disk>,
    /// `None` where libfaketime is not installed.
    pub(crate) clock: Option<Clock>,
}

/// Two edge nodes of one name, a proxy, a cloud.
pub(crate) struct Site {
    pub(crate) edge: Place,
    /// Has the same node id and a spool of its own; does not run at first.
    pub(crate) twin: Place,
    pub(crate) cloud: Place,
    pub(crate) proxy: Proxy,
    pub(crate) book: Book,
    pub(crate) models: Models,
    /// Folder of the later decoder, for the cloud.
    pub(crate) decoders: PathBuf,
    /// After the disks: they are in it.
    _folder: TempDir,
}

impl Site {
    /// Makes the place; nothing runs yet. `edge` and `cloud` are settings beside those that a site needs.
    pub(crate) async fn make(
        seed: u64,
        edge: &[(&str, &str)],
        cloud: &[(&str, &str)],
    ) -> Result<Arc<Self>> {
        let binaries = binaries()?;
        let folder = tempfile::Builder::new().prefix("faults-").tempdir()?;
        let decoders = folder.path().join("decoders");
        std::fs::create_dir(&decoders)?;
        let models = Models::make(&decoders)?;
        let proxy = Proxy::start(seed).await?;
        let endpoint = format!("http://{}", proxy.address);
        let of_edge = |name: &str| {
            let place = folder.path().join(name);
            let mut settings = env(
                "EDGE_NODE",
                &[
                    ("HTTP__LISTEN", "127.0.0.1:0"),
                    ("SPOOL__PATH", text(&place.join(SPOOL))?),
                    ("UPLINK__ENDPOINT", &endpoint),
                    ("UPLINK__BACKOFF_MAX_MS", "1000"),
                ],
            );
            settings.extend(env("EDGE_NODE", edge));
            Place::make(&place, binaries.join("edge-node"), settings)
        };
        let place = folder.path().join("cloud");
        let mut settings = env(
            "CLOUD_DECODER",
            &[
                ("HTTP__LISTEN", "127.0.0.1:0"),
                ("GRPC__LISTEN", "127.0.0.1:0"),
                ("DATA_DIR", text(&place.join("data"))?),
            ],
        );
        settings.extend(env("CLOUD_DECODER", cloud));
        let site = Self {
            edge: of_edge("edge")?,
            twin: of_edge("twin")?,
            cloud: Place::make(&place, binaries.join("cloud-decoder"), settings)?,
            proxy,
            book: Book::new(seed)?,
            models,
            decoders,
            _folder: folder,
        };
        Ok(Arc::new(site))
    }

    /// All three services.
    pub(crate) fn services(&self) -> [&Service; 3] {
        [&self.edge, &self.twin, &self.cloud].map(|place| &place.service)
    }

    /// Points the proxy at the cloud wherever it starts. Never returns.
    pub(crate) async fn guide(&self) {
        let mut cloud = self.cloud.service.follow();
        loop {
            let address = cloud.borrow_and_update().and_then(|at| at.grpc);
            self.proxy.set_target(address);
            if cloud.changed().await.is_err() {
                return;
            }
        }
    }

    /// Looks after the services: what ends by itself is started again. Returns when that fails.
    pub(crate) async fn watch(&self) -> Result<()> {
        loop {
            for service in self.services() {
                service.check().await?;
            }
            sleep(LOOK).await;
        }
    }

    /// Frames in the spools and in the queue of the decoder; services that do not answer count as one frame.
    pub(crate) async fn under_way(&self) -> [u64; 2] {
        let mut spooled = 0;
        for edge in [&self.edge, &self.twin] {
            if let Some(at) = edge.service.listening() {
                let status: Result<Value> = json(&format!("http://{}/v1/status", at.http)).await;
                spooled += status.map_or(1, |status| {
                    status["backlog"]["frames"].as_u64().unwrap_or(1)
                });
            }
        }
        let mut queued = 1;
        if let Some(at) = self.cloud.service.listening() {
            let summary: Result<Value> = json(&format!("http://{}/api/v1/summary", at.http)).await;
            queued = summary.map_or(1, |summary| summary["queued"].as_u64().unwrap_or(1));
        }
        [spooled, queued]
    }

    /// Waits until nothing is under way any more, or until nothing moves.
    pub(crate) async fn settle(&self, ledger: &mut Ledger) {
        let (mut least, mut since) = (u64::MAX, Instant::now());
        loop {
            let left = self.under_way().await.iter().sum();
            if left == 0 {
                return;
            }
            if left < least {
                (least, since) = (left, Instant::now());
            }
            if since.elapsed() > STUCK_AFTER {
                ledger.complain(format!("{left} frames do not move any more"));
                return;
            }
            sleep(LOOK).await;
        }
    }

    /// Compares the book with the spools and the cloud.
    pub(crate) async fn audit(&self, ledger: &mut Ledger) -> Result<()> {
        let accepted = self.book.pages().accepted;
        let mut held = 0;
        for edge in [&self.edge, &self.twin] {
            if edge.service.listening().is_none() {
                continue;
            }
            for shelf in [&["spool", "ls"][..], &["spool", "ls", "--quarantine"]] {
                let ids = listed(&edge.service.ask(shelf).await?)?;
                held += ids.iter().filter(|id| accepted.contains_key(*id)).count() as u64;
                for id in ids {
                    ledger.complain(format!("{id} is left in {shelf:?}"));
                }
            }
        }
        ledger.acked = accepted.len() as u64 - held;
        let cloud = self
            .cloud
            .service
            .listening()
            .context("the cloud is down")?;
        audit::audit(&self.book, &self.models, cloud.http, ledger).await?;
        for (name, service) in ["edge", "twin", "cloud"].iter().zip(self.services()) {
            use std::sync::atomic::Ordering::Relaxed;
            ledger.note(format!("{name} crashes"), service.crashes.load(Relaxed));
            ledger.note(
                format!("{name} failed starts"),
                service.failed_starts.load(Relaxed),
            );
        }
        Ok(())
    }
}

impl Place {
    fn make(folder: &Path, binary: PathBuf, mut settings: Settings) -> Result<Self> {
        let disk = Disk::mount(folder);
        if let Err(error) = &disk {
            println!("no full disks in this run: {error:#}");
            std::fs::create_dir_all(folder)?;
        }
        let clock = Clock::new(&folder.with_extension("clock"))?;
        match &clock {
            Some(clock) => settings.extend(clock.environment()?),
            None => println!("no wrong clocks in this run: libfaketime is not installed"),
        }
        let log = folder.with_extension("log");
        Ok(Self {
            service: Service::new(binary, log, settings),
            spool: folder.join(SPOOL),
            disk: disk.ok(),
            clock,
        })
    }
}

fn env(prefix: &str, settings: &[(&str, &str)]) -> Settings {
    let settings = settings.iter();
    settings
        .map(|(key, value)| (format!("{prefix}_{key}"), (*value).to_owned()))
        .collect()
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("temporary folders are UTF-8")
}
