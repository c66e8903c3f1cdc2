//! Everything that a run needs: edge nodes, a cloud of one process or more, and the link between them.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Context as _, Result};
use futures::future::select_all;
use serde_json::Value;
use tempfile::TempDir;
use testing::proxy::Proxy;
use tokio::time::{Instant, sleep};

use crate::{
    audit::{self, json, listed},
    book::Book,
    ledger::Ledger,
    models::Models,
    place::{Kind, Place, owned},
    service::{Addresses, Settings, binaries},
};

/// A run that makes no progress for so long is not waited for.
const STUCK_AFTER: Duration = Duration::from_secs(180);
/// How often the services are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// The services, and the proxy through which edge nodes call the cloud.
pub(crate) struct Site {
    pub(crate) places: Vec<Place>,
    pub(crate) proxy: Proxy,
    pub(crate) book: Book,
    pub(crate) models: Models,
    /// Folder of the later decoder, for the cloud.
    pub(crate) decoders: PathBuf,
    binaries: PathBuf,
    /// After the disks: they are in it.
    folder: TempDir,
}

impl Site {
    /// Two edge nodes of one name, of which the second is not to run at first, and one cloud, all with disks and clocks
    /// of their own; nothing runs yet. `edge` and `cloud` are settings beside those that a site needs.
    pub(crate) async fn pair(
        seed: u64,
        edge: &[(&str, &str)],
        cloud: &[(&str, &str)],
    ) -> Result<Arc<Self>> {
        let mut site = Self::empty(seed).await?;
        for (kind, name, settings) in [
            (Kind::Edge, "edge", edge),
            (Kind::Edge, "twin", edge),
            (Kind::Cloud, "cloud", cloud),
        ] {
            let mut all = site.settings(kind);
            all.extend(owned(settings));
            let folder = site.folder.path().join(name);
            let place = Place::make_breakable(kind, &folder, &site.binaries, all)?;
            site.places.push(place);
        }
        Ok(Arc::new(site))
    }

    /// So many processes of each kind; nothing runs yet. `shared` are settings of all cloud decoders.
    pub(crate) async fn fleet(
        seed: u64,
        kinds: &[(Kind, usize)],
        shared: &Settings,
    ) -> Result<Arc<Self>> {
        let mut site = Self::empty(seed).await?;
        let all = kinds.iter();
        for (kind, number) in all.flat_map(|&(kind, count)| (0..count).map(move |n| (kind, n))) {
            let name = format!("{}-{number}", kind.name());
            let mut settings = site.settings(kind);
            match kind {
                Kind::Edge => settings.extend(owned(&[("EDGE_NODE_NODE_ID", &name)])),
                _ => settings.extend(shared.clone()),
            }
            let folder = site.folder.path().join(&name);
            let place = Place::make(kind, &folder, &site.binaries, settings)?;
            site.places.push(place);
        }
        Ok(Arc::new(site))
    }

    async fn empty(seed: u64) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("faults-").tempdir()?;
        let decoders = folder.path().join("decoders");
        std::fs::create_dir(&decoders)?;
        Ok(Self {
            places: Vec::new(),
            proxy: Proxy::start(seed).await?,
            book: Book::new(seed)?,
            models: Models::make(&decoders)?,
            decoders,
            binaries: binaries()?,
            folder,
        })
    }

    /// What a service of a kind needs at any site.
    fn settings(&self, kind: Kind) -> Settings {
        let endpoint = format!("http://{}", self.proxy.address);
        match kind {
            Kind::Edge => owned(&[
                ("EDGE_NODE_UPLINK__ENDPOINT", &endpoint),
                ("EDGE_NODE_UPLINK__BACKOFF_MAX_MS", "1000"),
            ]),
            _ => Settings::new(),
        }
    }

    /// The first edge node.
    pub(crate) fn edge(&self) -> &Place {
        &self.places[0]
    }

    /// The second edge node of a pair.
    pub(crate) fn twin(&self) -> &Place {
        &self.places[1]
    }

    /// The cloud of a pair.
    pub(crate) fn cloud(&self) -> &Place {
        &self.places[2]
    }

    /// All services of a kind.
    pub(crate) fn all(&self, kind: Kind) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(move |place| place.kind == kind)
    }

    /// Where something listens that shows what the cloud has.
    pub(crate) fn shown(&self) -> Option<Addresses> {
        let mut shows = self.places.iter().filter(|place| place.kind.shows());
        shows.find_map(|place| place.service.listening())
    }

    /// Points the proxy at what takes frames, wherever it starts. Never returns.
    pub(crate) async fn guide(&self) {
        let doors = self.places.iter().filter(|place| place.kind.takes_frames());
        let mut doors: Vec<_> = doors.map(|place| place.service.follow()).collect();
        loop {
            let addresses = doors.iter_mut().map(|door| *door.borrow_and_update());
            let addresses = addresses.filter_map(|at| at?.grpc).collect();
            self.proxy.set_targets(addresses);
            select_all(doors.iter_mut().map(|door| Box::pin(door.changed())))
                .await
                .0
                .ok();
        }
    }

    /// Looks after the services: what ends by itself is started again. Returns when that fails.
    pub(crate) async fn watch(&self) -> Result<()> {
        loop {
            for place in &self.places {
                place.service.check().await?;
            }
            sleep(LOOK).await;
        }
    }

    /// Frames in the spools and in the queue of the decoder; services that do not answer count as one frame.
    pub(crate) async fn under_way(&self) -> [u64; 2] {
        let mut spooled = 0;
        for edge in self.all(Kind::Edge) {
            if let Some(at) = edge.service.listening() {
                let status: Result<Value> = json(&format!("http://{}/v1/status", at.http)).await;
                spooled += status.map_or(1, |status| {
                    status["backlog"]["frames"].as_u64().unwrap_or(1)
                });
            }
        }
        let mut queued = 1;
        if let Some(at) = self.shown() {
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
        for edge in self.all(Kind::Edge) {
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
        let cloud = self.shown().context("the cloud is down")?;
        audit::audit(&self.book, &self.models, cloud.http, ledger).await?;
        let mut ends: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
        for place in &self.places {
            let [crashes, failed] = ends.entry(place.kind.name()).or_default();
            *crashes += place.service.crashes.load(Relaxed);
            *failed += place.service.failed_starts.load(Relaxed);
        }
        for (kind, [crashes, failed]) in ends {
            ledger.note(format!("{kind} crashes"), crashes);
            ledger.note(format!("{kind} failed starts"), failed);
        }
        Ok(())
    }

    /// Takes down the largest resident size of a process of each kind since the last time.
    pub(crate) fn note_memory(&self, when: &str, ledger: &mut Ledger) {
        let mut peaks: BTreeMap<&str, u64> = BTreeMap::new();
        for place in &self.places {
            let peak = peaks.entry(place.kind.name()).or_default();
            *peak = place.service.take_peak_mib().max(*peak);
        }
        for (kind, peak) in peaks {
            ledger.note(format!("{kind} memory peak in MiB, {when}"), peak);
        }
    }
}
