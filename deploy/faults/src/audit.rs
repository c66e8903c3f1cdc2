//! Compares what the cameras were told with what the cloud has, through its HTTP API.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
};

use anyhow::{Context as _, Result, ensure};
use image::ImageFormat;
use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use rayon::prelude::*;
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    book::{Accepted, Book, Pages},
    ledger::Ledger,
    models::Models,
    scene,
};

/// Reconstructions that are compared byte by byte.
const SAMPLE: usize = 300;
/// Frames of one page of the catalogue.
const PAGE: usize = 500;

/// A frame's record in the cloud.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: Uuid,
    pub(crate) camera: String,
    pub(crate) state: String,
    failure: String,
    latent_bits: u64,
    latent_ones: Option<f64>,
    program_id: Option<String>,
}

/// What tells a frame's content: camera, program, bits, and the share of set bits.
type Content = (String, String, u64, u64);

impl Record {
    fn content(&self) -> Content {
        let program = self.program_id.clone().unwrap_or_default();
        let ones = self.latent_ones.unwrap_or_default().to_bits();
        (self.camera.clone(), program, self.latent_bits, ones)
    }
}

/// All records, last arrival first.
pub(crate) async fn catalogue(cloud: SocketAddr) -> Result<Vec<Record>> {
    #[derive(Deserialize)]
    struct Page {
        frames: Vec<Record>,
        next: Option<Uuid>,
    }
    let mut records = Vec::new();
    let mut before = String::new();
    loop {
        let url = format!("http://{cloud}/api/v1/frames?limit={PAGE}{before}");
        let page: Page = json(&url).await?;
        records.extend(page.frames);
        match page.next {
            Some(next) => before = format!("&before={next}"),
            None => return Ok(records),
        }
    }
}

/// Gets `url` as JSON.
pub(crate) async fn json<T: serde::de::DeserializeOwned>(url: &str) -> Result<T> {
    let response = testing::client()
        .get(url)
        .send()
        .await?
        .error_for_status()?;
    Ok(response.json().await?)
}

/// Counts what became of each accepted frame, and checks its content: of all frames the latents, of some the picture.
pub(crate) async fn audit(
    book: &Book,
    models: &Models,
    cloud: SocketAddr,
    ledger: &mut Ledger,
) -> Result<()> {
    let pages = book.pages();
    let records = catalogue(cloud).await?;
    let mut rows: HashMap<Uuid, &Record> = HashMap::new();
    for record in &records {
        if rows.insert(record.id, record).is_some() {
            ledger.duplicated += 1;
        }
    }
    ledger.accepted = pages.accepted.len() as u64;
    ledger.unanswered = pages.unanswered.len() as u64;
    ledger.refused = pages.refused.values().sum();
    let (stored, lost): (Vec<_>, Vec<_>) = pages
        .accepted
        .iter()
        .partition(|(id, _)| rows.contains_key(*id));
    ledger.stored = stored.len() as u64;
    for (id, _) in &lost {
        ledger.complain(format!("{id} is lost"));
    }
    ledger.lost = lost.len() as u64;

    let judged: Vec<_> = stored
        .par_iter()
        .map(|(id, accepted)| (**id, judge(book, models, accepted, rows[*id])))
        .collect();
    let mut right = Vec::new();
    for (id, judgement) in judged {
        match judgement {
            Ok(()) => right.push(id),
            Err(error) => ledger.complain(format!("{id}: {error:#}")),
        }
    }
    ledger.reconstructed = right.len() as u64;

    right.shuffle(&mut StdRng::seed_from_u64(book.seed));
    for id in right.into_iter().take(SAMPLE) {
        let same = same_picture(book, models, &pages.accepted[&id], cloud, id).await;
        ledger.compared += 1;
        if let Err(error) = same {
            ledger.reconstructed -= 1;
            ledger.complain(format!("{id}: {error:#}"));
        }
    }
    strangers(book, models, &pages, &rows, ledger)
}

/// Whether a stored frame is decoded, and the one that was accepted.
fn judge(book: &Book, models: &Models, accepted: &Accepted, record: &Record) -> Result<()> {
    let (state, failure) = (&record.state, &record.failure);
    ensure!(state == "decoded", "it is {state}: {failure}");
    let (program, bits) = (&accepted.program, accepted.bits_per_patch);
    let expected = content(book, models, accepted.number, program, bits)?;
    let found = record.content();
    ensure!(found == expected, "it is {found:?}, not {expected:?}");
    Ok(())
}

fn content(book: &Book, models: &Models, number: u64, program: &str, bits: u32) -> Result<Content> {
    let latents = models.latents(book.seed, number, program, bits)?;
    let ones: u32 = latents.payload.iter().map(|byte| byte.count_ones()).sum();
    let share = f64::from(ones) / latents.total_bits() as f64;
    let camera = scene::camera(number);
    Ok((
        camera,
        program.to_owned(),
        latents.total_bits(),
        share.to_bits(),
    ))
}

/// Compares the cloud's picture with one decoded here.
async fn same_picture(
    book: &Book,
    models: &Models,
    accepted: &Accepted,
    cloud: SocketAddr,
    id: Uuid,
) -> Result<()> {
    let url = format!("http://{cloud}/api/v1/frames/{id}/reconstruction.png");
    let png = testing::client()
        .get(url)
        .send()
        .await?
        .error_for_status()?;
    let png = png.bytes().await?;
    let found = image::load_from_memory_with_format(&png, ImageFormat::Png)?.into_rgb8();
    let (number, bits) = (accepted.number, accepted.bits_per_patch);
    let latents = models.latents(book.seed, number, &accepted.program, bits)?;
    let expected = models.reconstruct(&latents)?;
    ensure!(*found.as_raw() == expected, "its picture is another");
    Ok(())
}

/// Frames that the cloud has and nobody was told of: each must be one whose answer did not come, once.
fn strangers(
    book: &Book,
    models: &Models,
    pages: &Pages,
    rows: &HashMap<Uuid, &Record>,
    ledger: &mut Ledger,
) -> Result<()> {
    let mut open: HashSet<u64> = pages.unanswered.iter().copied().collect();
    for (id, record) in rows {
        if pages.accepted.contains_key(id) {
            continue;
        }
        let found = record.content();
        let program = found.1.as_str();
        let known = open.iter().copied().find(|&number| {
            let patches = u64::from(scene::side(number) / 32).pow(2);
            let bits = (found.2 / patches) as u32;
            scene::camera(number) == record.camera
                && content(book, models, number, program, bits).is_ok_and(|c| c == found)
        });
        match known {
            Some(number) => {
                open.remove(&number);
                ledger.stored_unanswered += 1;
            }
            None => {
                ledger.duplicated += 1;
                ledger.complain(format!("{id} was never accepted: {record:?}"));
            }
        }
    }
    Ok(())
}

/// Frames that are still in a spool, or in its quarantine, as `edge-node spool ls` prints them.
pub(crate) fn listed(output: &str) -> Result<Vec<Uuid>> {
    let ids = output.lines().map(|line| {
        let id = line.split(' ').next().unwrap_or_default();
        Uuid::try_parse(id).with_context(|| format!("no frame id in {line:?}"))
    });
    ids.collect()
}
