//! Everything that a run needs: edge nodes, a cloud of one process or more, and the link between them.

mod make;

use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
    sync::{Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::select_all;
use serde_json::Value;
use tempfile::TempDir;
use testing::proxy::{Proxy, Weather};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::{
    answer_log::AnswerLog,
    audit,
    caller::{Caller, Side},
    engines::Server,
    feeds::Feeds,
    ledger::Ledger,
    models::Models,
    object_reader::ObjectReader,
    pictures::FOLDER,
    place::{Kind, Place},
    secrets::Secrets,
    service::Addresses,
    watcher::Watcher,
};

/// A run that makes no progress for so long is not waited for.
const STUCK_AFTER: Duration = Duration::from_secs(180);
/// Longest that services may take to be ready once all is mended.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Time between two checks of the services.
const LOOK: Duration = Duration::from_millis(250);
/// Time between two readings of new frames.
const LOOK_AT_FRAMES: Duration = Duration::from_millis(700);
/// Share of frames whose originals travel where pictures vary.
pub(crate) const ORIGINALS: &str = "0.25";

/// The services, and the proxy through which edge nodes call the cloud.
pub(crate) struct Site {
    pub(crate) places: Vec<Place>,
    pub(crate) proxy: Proxy,
    /// Between a process in a role, by its index, and a server.
    pub(crate) wires: Vec<(usize, Server, Proxy)>,
    pub(crate) answers: AnswerLog,
    pub(crate) models: Models,
    pub(crate) caller: Caller,
    pub(crate) objects: ObjectReader,
    /// Where doors ask for TLS and tokens.
    pub(crate) secrets: Option<Secrets>,
    /// The sources of the first edge node.
    pub(crate) feeds: Option<Feeds>,
    /// Where frames may be taken away again.
    pub(crate) watcher: Option<Watcher>,
    /// Bytes that the cloud may keep.
    pub(crate) retention: Option<u64>,
    /// Folder of the later program, its prior and its decoder, for edge nodes and cloud.
    pub(crate) decoders: PathBuf,
    binaries: PathBuf,
    printed: Mutex<HashSet<String>>,
    /// After the disks: they are in it.
    folder: TempDir,
}

impl Site {
    /// Sets the weather of the wires that `which` chooses by process and server.
    pub(crate) fn set_wires(&self, which: impl Fn(usize, Server) -> bool, weather: Weather) {
        let chosen = self.wires.iter().filter(|(from, to, _)| which(*from, *to));
        for (_, _, wire) in chosen {
            wire.set_weather(weather);
        }
    }

    /// Copies the services' logs to where they outlive the run.
    pub(crate) fn keep_logs(&self) -> Result<()> {
        let kept = tempfile::Builder::new().prefix("faults-logs-").tempdir()?;
        let kept = kept.keep();
        for entry in std::fs::read_dir(self.folder.path())? {
            let entry = entry?;
            if entry
                .path()
                .extension()
                .is_some_and(|ending| ending == "log")
            {
                std::fs::copy(entry.path(), kept.join(entry.file_name()))?;
            }
        }
        println!("the logs of the services are in {}", kept.display());
        Ok(())
    }

    /// Prints something, once.
    pub(crate) fn print_once(&self, what: &str) {
        let mut printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        if printed.insert(what.to_owned()) {
            println!("{what}");
        }
    }

    /// The folder of the cloud of a pair.
    pub(crate) fn data_dir(&self) -> Result<PathBuf> {
        let ObjectReader::Folder(objects) = &self.objects else {
            bail!("the cloud has none");
        };
        Ok(objects.parent().context("a folder")?.to_owned())
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

    /// Address of the cloud's HTTP API.
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

    /// Looks at what comes, and lets the sources bring something until `end`.
    pub(crate) async fn accompany(&self, end: Instant) -> Result<()> {
        let filling = async {
            match &self.feeds {
                // It ends between two files.
                Some(feeds) => feeds.fill(end).await,
                None => Ok(()),
            }
        };
        let watching = async {
            while self.watcher.is_some() {
                // The cloud may be away, and comes back.
                if let Err(error) = self.look_at_new_frames().await {
                    self.print_once(&format!("looking at new frames: {}", error.root_cause()));
                }
                sleep(LOOK_AT_FRAMES).await;
            }
        };
        let (filled, ()) = tokio::join!(filling, watching);
        filled?;
        std::future::pending().await
    }

    /// Reads the frames that came since the last call, where the run watches them and the cloud answers.
    pub(crate) async fn look_at_new_frames(&self) -> Result<()> {
        match (&self.watcher, self.shown()) {
            (Some(watcher), Some(at)) => watcher.look(&self.caller, &self.objects, at.http).await,
            _ => Ok(()),
        }
    }

    /// Waits until every service that runs is ready; gives the seconds that it took.
    pub(crate) async fn ready(&self) -> Result<u64> {
        let begun = Instant::now();
        loop {
            let mut waiting = Vec::new();
            for place in &self.places {
                if let Some(at) = place.service.listening()
                    && !self.caller.is_ready(at.http).await
                {
                    waiting.push(place.service.name());
                }
            }
            let took = begun.elapsed();
            if waiting.is_empty() {
                return Ok(took.as_secs());
            }
            ensure!(
                took <= READY_WITHIN,
                "{waiting:?} are not ready {READY_WITHIN:?} after the last fault"
            );
            sleep(LOOK).await;
        }
    }

    /// Frames in the spools and in the queue of the decoder, and files that are still to be taken; services that do not
    /// answer count as one frame.
    pub(crate) async fn under_way(&self) -> [u64; 2] {
        let mut spooled = 0;
        for edge in self.all(Kind::Edge) {
            if let Some(at) = edge.service.listening() {
                let status: Result<Value> =
                    self.caller.json(Side::Edge, at.http, "/v1/status").await;
                spooled += status.map_or(1, |status| {
                    status["backlog"]["frames"].as_u64().unwrap_or(1)
                });
            }
        }
        if let (Some(feeds), Some(watcher)) = (&self.feeds, &self.watcher) {
            spooled += feeds.count().saturating_sub(watcher.count(FOLDER));
        }
        let mut queued = 1;
        if let Some(at) = self.shown() {
            let summary: Result<Value> = self
                .caller
                .json(Side::Cloud, at.http, "/api/v1/summary")
                .await;
            // Frames that failed for want of a decoder are queued again once it is there.
            let count = |summary: &Value, state: &str| summary[state].as_u64().unwrap_or(1);
            queued = summary.map_or(1, |summary| {
                count(&summary, "queued") + count(&summary, "failed")
            });
        }
        [spooled, queued]
    }

    /// Waits until no work is in progress, or until there is no progress.
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
        let accepted = self.answers.pages().accepted;
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
        let cloud = self.shown().context("the cloud is down")?;
        audit::audit(self, cloud.http, ledger).await?;
        // The cloud has them, or had, and no spool does.
        ledger.acked = (ledger.stored + ledger.removed).saturating_sub(held);
        let mut ends: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
        for place in &self.places {
            place.service.check().await?;
            let [unexpected, failed] = ends.entry(place.kind.name()).or_default();
            *unexpected += place.service.unexpected_ends.load(Relaxed);
            *failed += place.service.failed_starts.load(Relaxed);
        }
        for (kind, [unexpected, failed]) in ends {
            ledger.unexpected_ends += unexpected;
            ledger.note(format!("{kind} unexpected ends"), unexpected);
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

/// Frames that are still in a spool, or in its quarantine, as `edge-node spool ls` prints them.
pub(crate) fn listed(output: &str) -> Result<Vec<Uuid>> {
    let ids = output.lines().map(|line| {
        let id = line.split(' ').next().unwrap_or_default();
        Uuid::try_parse(id).with_context(|| format!("no frame id in {line:?}"))
    });
    ids.collect()
}
