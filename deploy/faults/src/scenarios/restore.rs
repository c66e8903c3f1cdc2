//! Backups are taken while frames come; then one half of what the cloud has, its catalogue or its objects, is lost, and
//! its backup is put in its place. Every frame that either half still has is there after it, with its picture or a
//! reason.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::copies::{Catalogue, Halves, Objects};
use crate::{
    answer_log::Answer,
    caller::Side,
    engines::Engines,
    found::{catalogue, look},
    judge::compare,
    ledger::Ledger,
    pictures::Picture,
    place::{Kind, Place},
    site::{ORIGINALS, Site},
};

/// Frames that come in all, and after how many backups are taken.
const FRAMES: usize = 150;
const BACKUP_AT: usize = 60;
const BETWEEN: Duration = Duration::from_millis(40);
/// Longest time until the cloud notices what is missing.
const FINDS_OUT_WITHIN: Duration = Duration::from_secs(60);
/// Processes where servers are shared.
const FLEET: [(Kind, usize); 4] = [
    (Kind::Edge, 1),
    (Kind::Ingest, 1),
    (Kind::Decode, 1),
    (Kind::Web, 1),
];

/// Which half is lost.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Loss {
    /// The catalogue; its backup is older than the objects.
    Catalogue,
    /// The catalogue, and there is no backup.
    WholeCatalogue,
    /// The objects; their backup is older than the catalogue.
    Objects,
}

/// Each half is lost once, of both kinds of catalogue.
pub(crate) async fn restore(seed: u64) -> Result<Ledger> {
    let mut all = Ledger::default();
    for loss in [Loss::Catalogue, Loss::WholeCatalogue, Loss::Objects] {
        for shared in [false, true] {
            let name = match shared {
                false => format!("{loss:?} lost, SQLite and files"),
                true => format!("{loss:?} lost, PostgreSQL and S3"),
            };
            println!("{name}");
            lose(seed, loss, shared, &name, &mut all).await?;
        }
    }
    Ok(all)
}

async fn lose(seed: u64, loss: Loss, shared: bool, name: &str, all: &mut Ledger) -> Result<()> {
    let (site, halves) = match shared {
        false => {
            let originals = [("EDGE_NODE_ORIGINALS_SHARE", ORIGINALS)];
            let site = Site::pair(seed, Picture::varied, &originals).await?;
            let folder = site.data_dir()?;
            (site, Halves::Embedded(folder))
        }
        true => {
            let engines = Engines::start(seed).await?;
            let site = Site::fleet(seed, &FLEET, &engines).await?;
            (site, Halves::Shared(Box::new(engines)))
        }
    };
    let run = Run {
        site: &site,
        halves,
        loss,
    };
    tokio::select! {
        result = run.to_the_end(name, all) => result,
        () = site.guide() => Ok(()),
    }
}

/// A site, of which a half is lost.
struct Run<'a> {
    site: &'a Arc<Site>,
    halves: Halves,
    loss: Loss,
}

impl Run<'_> {
    async fn to_the_end(&self, name: &str, all: &mut Ledger) -> Result<()> {
        let site = self.site;
        try_join_all(self.cloud().map(|place| place.service.start())).await?;
        site.edge().service.start().await?;
        let (posted, backups) = tokio::join!(self.post(), self.back_up());
        posted?;
        let (catalogue, objects, backed_up) = backups?;
        site.settle(all).await;
        let rows = self.rows().await?;
        let before = self.halves.frames().await?;
        try_join_all(self.cloud().map(|place| place.service.kill())).await?;

        let known = match self.loss {
            Loss::Catalogue => {
                self.halves.restore_catalogue(Some(&catalogue))?;
                backed_up
            }
            Loss::WholeCatalogue => {
                self.halves.restore_catalogue(None)?;
                self.refuses(all).await?;
                BTreeSet::new()
            }
            Loss::Objects => {
                self.halves.restore_objects(&objects).await?;
                rows
            }
        };
        let kept = self.halves.frames().await?;
        if self.loss != Loss::Objects && kept != before {
            all.complain(format!(
                "{name}: objects are gone: {} of {}",
                kept.len(),
                before.len()
            ));
        }
        if self.loss != Loss::Objects {
            let first = self.cloud().next().context("there is a cloud")?;
            let told = first.service.ask(&["adopt"]).await;
            match told {
                Ok(told) => println!("{}", told.trim()),
                Err(error) => all.complain(format!("{name}: {error:#}")),
            }
        }
        try_join_all(self.cloud().map(|place| place.service.start())).await?;
        all.note_ready(site.ready().await);
        self.told(&kept).await?;
        site.settle(all).await;
        self.count(name, &known, &kept, all).await
    }

    fn cloud(&self) -> impl Iterator<Item = &Place> {
        self.site
            .places
            .iter()
            .filter(|place| place.kind != Kind::Edge)
    }

    async fn post(&self) -> Result<()> {
        let edge = &self.site.edge().service;
        for _ in 0..FRAMES {
            let at = edge.listening().context("the edge is down")?;
            let answer = self
                .site
                .answers
                .post(&self.site.caller, 0, at.http)
                .await?;
            ensure!(matches!(answer, Answer::Accepted(_)), "{answer:?}");
            sleep(BETWEEN).await;
        }
        Ok(())
    }

    /// The catalogue first: objects are there before their rows.
    async fn back_up(&self) -> Result<(Catalogue, Objects, BTreeSet<Uuid>)> {
        while self.site.answers.counts()[0] < BACKUP_AT as u64 {
            sleep(BETWEEN).await;
        }
        let known = self.rows().await?;
        let catalogue = self.halves.copy_catalogue().await?;
        let objects = self.halves.copy_objects().await?;
        Ok((catalogue, objects, known))
    }

    async fn rows(&self) -> Result<BTreeSet<Uuid>> {
        let at = self.site.shown().context("the cloud is down")?;
        let rows = catalogue(&self.site.caller, at.http).await?;
        Ok(rows.iter().map(|row| row.record.id).collect())
    }

    /// Waits until the cloud has found out which frames have no latents, or does not.
    async fn told(&self, objects: &BTreeSet<Uuid>) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < FINDS_OUT_WITHIN {
            let at = self.site.shown().context("the cloud is down")?;
            let rows = catalogue(&self.site.caller, at.http).await?;
            let mut decoded = rows.iter().filter(|row| row.state == "decoded");
            if decoded.all(|row| objects.contains(&row.record.id)) {
                break;
            }
            sleep(BETWEEN).await;
        }
        Ok(())
    }

    /// Objects without their catalogue are not taken for orphans: the cloud does not start with another one.
    async fn refuses(&self, all: &mut Ledger) -> Result<()> {
        for place in self.cloud() {
            if !place.service.refuses_to_start().await? {
                let name = place.service.name();
                all.complain(format!(
                    "{name} starts with a catalogue that is not that of its objects"
                ));
            }
        }
        Ok(())
    }

    /// Compares what is there now with what either half had: frames of these rows, and of these objects.
    async fn count(
        &self,
        name: &str,
        rows: &BTreeSet<Uuid>,
        objects: &BTreeSet<Uuid>,
        all: &mut Ledger,
    ) -> Result<()> {
        let site = self.site;
        let at = site.shown().context("the cloud is down")?.http;
        let found = look(&site.objects, catalogue(&site.caller, at).await?).await?;
        let accepted = site.answers.pages().accepted;
        all.accepted += accepted.len() as u64;
        all.acked += accepted.len() as u64;
        let (mut neither, mut without) = (0, 0);
        for (id, accepted) in &accepted {
            let there = found.iter().find(|found| found.row.record.id == *id);
            let had = rows.contains(id) || objects.contains(id);
            let Some(there) = there else {
                match had {
                    true => {
                        all.lost += 1;
                        all.complain(format!("{name}: {id} is lost"));
                    }
                    false => neither += 1,
                }
                continue;
            };
            all.stored += 1;
            let (state, failure) = (&there.row.state, &there.row.failure);
            if accepted.picture.task.compresses() && !objects.contains(id) {
                without += 1;
                match state == "failed" && !failure.is_empty() {
                    true => all.reconstructed += 1,
                    false => all.complain(format!("{name}: {id} has no latents and is {state}")),
                }
                continue;
            }
            let same = compare(&site.models, &**site, &site.edge().node, accepted, there);
            if let Err(error) = same {
                all.altered += 1;
                all.complain(format!("{name}: {id}: {error:#}"));
            }
            let picture = format!("/api/v1/frames/{id}/reconstruction.png");
            let picture = site.caller.get(Side::Cloud, at, &picture).send().await?;
            let wanted = accepted.picture.task.compresses();
            match wanted == picture.status().is_success() {
                true => all.reconstructed += 1,
                false => all.complain(format!("{name}: {id} is {state}: {failure}")),
            }
        }
        all.accepted -= neither;
        all.acked -= neither;
        all.note(format!("{name}: in neither half"), neither);
        all.note(format!("{name}: without latents, with a reason"), without);
        Ok(())
    }
}
