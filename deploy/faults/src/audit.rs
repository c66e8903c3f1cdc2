//! Compares the answers that the cameras got with the frames in the cloud.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Result, ensure};
use image::ImageFormat;
use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use rayon::prelude::*;
use serde::Deserialize;
use std::net::SocketAddr;
use uuid::Uuid;

use crate::{
    answer_log::{Accepted, Pages},
    caller::Side,
    found::{self, Found, catalogue},
    judge::compare,
    known::Known,
    ledger::Ledger,
    retention,
    site::Site,
    unanswered,
};

/// Reconstructions that are compared byte by byte.
const SAMPLE: usize = 300;

/// Counts what became of each accepted frame, and compares its content, and of some the picture.
pub(crate) async fn audit(site: &Site, cloud: SocketAddr, ledger: &mut Ledger) -> Result<()> {
    let pages = site.answers.pages();
    site.look_at_new_frames().await?;
    retention::settle(site, cloud).await?;
    let rows = catalogue(&site.caller, cloud).await?;
    let count = rows.len();
    let found = found::look(&site.objects, rows).await?;
    let there: HashMap<_, _> = found.into_iter().map(|f| (f.row.record.id, f)).collect();
    ledger.duplicated += (count - there.len()) as u64;
    let seen = site.watcher.as_ref().map(|watcher| watcher.seen());
    let known = Known {
        there,
        seen: seen.unwrap_or_default(),
    };
    ledger.accepted = pages.accepted.len() as u64;
    ledger.unanswered = pages.unanswered.len() as u64;
    ledger.refused = pages.refused.values().sum();
    for (status, count) in &pages.refused {
        ledger.note(format!("refused with {status}"), *count);
    }
    changed_later(&known, ledger);
    presence(site, &pages, &known, ledger).await?;
    contents(site, &pages, &known, ledger);
    pictures(site, &pages, &known, cloud, ledger).await;
    retention::check(site, cloud, &known, ledger).await?;
    unanswered::check(site, &pages, &known, ledger)
}

/// A frame is the one that it was when it came.
fn changed_later(known: &Known, ledger: &mut Ledger) {
    for (id, before) in &known.seen {
        let Some(now) = known.there.get(id) else {
            continue;
        };
        let same = before.row.record == now.row.record
            && before.latents == now.latents
            && before.original == now.original;
        if !same {
            ledger.altered += 1;
            ledger.complain(format!("{id} was {before:?} and is {now:?}"));
        }
    }
}

/// Where each accepted frame is.
async fn presence(site: &Site, pages: &Pages, known: &Known, ledger: &mut Ledger) -> Result<()> {
    for (id, accepted) in &pages.accepted {
        if known.there.contains_key(id) {
            ledger.stored += 1;
        } else if known.seen.contains_key(id) {
            ledger.removed += 1;
        } else if expired(site, accepted, *id).await? {
            ledger.expired += 1;
        } else {
            ledger.lost += 1;
            let node = site.places[accepted.edge].service.name();
            ledger.complain(format!(
                "{id} of {node} is lost, sent at {}",
                accepted.sent_ms
            ));
        }
    }
    Ok(())
}

/// Whether the edge node says that its spool's time to live took the frame, and has such a time.
async fn expired(site: &Site, accepted: &Accepted, id: Uuid) -> Result<bool> {
    let edge = &site.places[accepted.edge];
    if edge.ttl.is_none() {
        return Ok(false);
    }
    Ok(fate(site, accepted.edge, id).await?.has_expired())
}

/// An edge node's state of a frame that it accepted.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Fate {
    state: String,
    reason: String,
}

impl Fate {
    /// Whether it was dropped because of its age.
    pub(crate) fn has_expired(&self) -> bool {
        self.state == "dropped" && self.reason.contains("time to live")
    }
}

/// Asks the edge node; nothing when it does not remember, or is not there.
pub(crate) async fn fate(site: &Site, edge: usize, id: Uuid) -> Result<Fate> {
    let Some(at) = site.places[edge].service.listening() else {
        return Ok(Fate::default());
    };
    let path = format!("/v1/frames/{id}");
    let answer = site.caller.get(Side::Edge, at.http, &path).send().await?;
    match answer.status().is_success() {
        true => Ok(answer.json().await?),
        false => Ok(Fate::default()),
    }
}

/// Whether each frame equals the accepted one, and whether it is decoded.
fn contents(site: &Site, pages: &Pages, known: &Known, ledger: &mut Ledger) {
    let accepted: Vec<_> = pages.accepted.iter().collect();
    let judged: Vec<_> = accepted
        .par_iter()
        .filter_map(|(id, accepted)| {
            let found = known.find(**id)?;
            let node = &site.places[accepted.edge].node;
            let same = compare(&site.models, site, node, accepted, found);
            Some((**id, *accepted, found, same))
        })
        .collect();
    let (mut labels, mut originals) = (0, 0);
    let mut travelled = BTreeMap::new();
    for (id, accepted, found, same) in judged {
        let there = known.there.contains_key(&id);
        labels += u64::from(found.row.record.label.is_some());
        originals += u64::from(found.original.is_some());
        if let Some(way) = &found.row.latents {
            *travelled.entry(way.travelled.as_str()).or_default() += 1;
        }
        match &same {
            Ok(()) if there => match decoded(accepted, found) {
                Ok(()) => ledger.reconstructed += 1,
                Err(error) => ledger.complain(format!("{id}: {error:#}")),
            },
            Ok(()) => {}
            Err(error) => {
                ledger.altered += 1;
                ledger.complain(format!("{id}: {error:#}"));
            }
        }
    }
    ledger.note("labels compared", labels);
    ledger.note("originals compared", originals);
    for way in ["plain", "intra", "reference"] {
        let count = travelled.get(way).copied().unwrap_or_default();
        ledger.note(format!("latents that travelled: {way}"), count);
    }
}

fn decoded(accepted: &Accepted, found: &Found) -> Result<()> {
    let (state, failure) = (&found.row.state, &found.row.failure);
    let wanted = match accepted.picture.task.compresses() {
        true => "decoded",
        false => "labelled",
    };
    ensure!(state == wanted, "it is {state}: {failure}");
    Ok(())
}

/// Compares some of the cloud's pictures with ones decoded here.
async fn pictures(
    site: &Site,
    pages: &Pages,
    known: &Known,
    cloud: SocketAddr,
    ledger: &mut Ledger,
) {
    let decoded = known.there.iter().filter(|(_, f)| f.row.state == "decoded");
    let mut decoded: Vec<_> = decoded
        .filter_map(|(id, _)| Some((*id, pages.accepted.get(id)?)))
        .collect();
    decoded.sort_by_key(|(id, _)| *id);
    decoded.shuffle(&mut StdRng::seed_from_u64(site.answers.seed));
    for (id, accepted) in decoded.into_iter().take(SAMPLE) {
        ledger.compared += 1;
        if let Err(error) = same_picture(site, accepted, cloud, id).await {
            ledger.altered += 1;
            ledger.complain(format!("{id}: {error:#}"));
        }
    }
}

async fn same_picture(site: &Site, accepted: &Accepted, cloud: SocketAddr, id: Uuid) -> Result<()> {
    let path = format!("/api/v1/frames/{id}/reconstruction.png");
    let png = site.caller.get(Side::Cloud, cloud, &path).send().await?;
    let png = png.error_for_status()?.bytes().await?;
    let found = image::load_from_memory_with_format(&png, ImageFormat::Png)?.into_rgb8();
    let latents = site
        .models
        .latents(&accepted.picture, &accepted.program, accepted.bits)?;
    let expected = site.models.reconstruct(&latents)?;
    ensure!(*found.as_raw() == expected, "its picture is another");
    Ok(())
}

impl crate::judge::Clocks for Site {
    fn wrong(&self, edge: Option<usize>, from_ms: i64, to_ms: i64) -> Vec<i64> {
        let places = self.places.iter().enumerate();
        let meant = places.filter(|(index, place)| match edge {
            Some(edge) => *index == edge,
            None => place.kind != crate::place::Kind::Edge,
        });
        let clocks = meant.filter_map(|(_, place)| place.clock.as_ref());
        clocks
            .flat_map(|clock| clock.wrong_within(from_ms, to_ms))
            .collect()
    }
}
