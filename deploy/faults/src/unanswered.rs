//! Frames that nobody was told of: those whose answer did not come, and those of sources. Each is to be one of these,
//! as it was sent, once.

use std::collections::HashMap;

use anyhow::Result;
use rayon::prelude::*;
use uuid::Uuid;

use crate::{
    answer_log::Pages,
    found::Found,
    judge::{Content, original},
    known::Known,
    ledger::Ledger,
    pictures::{FOLDER, Picture, STREAM},
    site::Site,
};

/// A picture that may be there without an answer, and the bytes that were sent of it.
struct Candidate {
    picture: Picture,
    bytes: u64,
}

/// Finds out what each of them is.
pub(crate) fn check(site: &Site, pages: &Pages, known: &Known, ledger: &mut Ledger) -> Result<()> {
    let mut shots = pages.unanswered.clone();
    let (files, served) = match &site.feeds {
        Some(feeds) => (feeds.files(), feeds.served()),
        None => (Vec::new(), Vec::new()),
    };
    shots.extend(files.iter().chain(&served).cloned());
    let mut candidates: HashMap<String, Vec<Candidate>> = HashMap::new();
    for picture in shots {
        let bytes = picture.body()?.len() as u64;
        let of_camera = candidates.entry(picture.camera.clone()).or_default();
        of_camera.push(Candidate { picture, bytes });
    }
    let strange = known
        .all()
        .filter(|(id, _)| !pages.accepted.contains_key(*id));
    let strange: Vec<_> = strange.collect();
    let named: Vec<_> = strange
        .par_iter()
        .map(|(id, found)| {
            let of_camera = candidates.get(&found.row.record.camera);
            let picture = of_camera.and_then(|all| all.iter().find(|c| is(site, c, found)));
            (**id, *found, picture.map(|candidate| &candidate.picture))
        })
        .collect();
    let nodes: Vec<_> = site.places.iter().map(|place| &place.node).collect();
    let mut times: HashMap<(&str, u64), Vec<Uuid>> = HashMap::new();
    for (id, found, picture) in named {
        let record = &found.row.record;
        let Some(picture) = picture else {
            ledger.altered += 1;
            ledger.complain(format!("{id} is nothing that was sent: {found:?}"));
            continue;
        };
        times
            .entry((&picture.camera, picture.number))
            .or_default()
            .push(id);
        if let Err(error) = original(picture, found) {
            ledger.altered += 1;
            ledger.complain(format!("{id}: {error:#}"));
        }
        if !nodes.contains(&&record.node) {
            ledger.altered += 1;
            ledger.complain(format!("{id} has node {}", record.node));
        }
        let there = known.there.contains_key(&id);
        let waits = picture.task.compresses() && found.row.state != "decoded";
        if there && waits {
            let (state, failure) = (&found.row.state, &found.row.failure);
            ledger.complain(format!("{id} is {state}: {failure}"));
        }
    }
    for ((camera, number), ids) in &times {
        if ids.len() > 1 {
            ledger.duplicated += ids.len() as u64 - 1;
            ledger.complain(format!("picture {number} of {camera} is there as {ids:?}"));
        }
    }
    let of = |camera| times.keys().filter(|(of, _)| *of == camera).count() as u64;
    ledger.stored_unanswered = times.len() as u64 - of(FOLDER) - of(STREAM);
    if site.feeds.is_some() {
        for file in &files {
            if !times.contains_key(&(FOLDER, file.number)) {
                ledger.lost += 1;
                ledger.complain(format!("file {} of the folder is lost", file.number));
            }
        }
        ledger.require("files of the folder", files.len() as u64);
        ledger.require("frames of the stream that were taken", of(STREAM));
    }
    Ok(())
}

/// Whether a frame is this picture, under whichever program.
fn is(site: &Site, candidate: &Candidate, found: &Found) -> bool {
    let record = &found.row.record;
    if record.source_bytes != Some(candidate.bytes) {
        return false;
    }
    let program = record.program_id.clone().unwrap_or_default();
    let expected = Content::expected(
        &site.models,
        &candidate.picture,
        &program,
        record.bits_per_patch(),
    );
    expected.is_ok_and(|expected| expected == Content::of(found))
}
