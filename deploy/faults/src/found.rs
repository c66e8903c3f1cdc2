//! Frames as the cloud has them: their records, and digests of their bytes.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use image::ImageFormat;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    caller::{Caller, Side},
    clock::now_ms,
    models::Score,
    object_reader::{Kind, ObjectReader},
};

/// Frames of one page of the catalogue.
const PAGE: usize = 500;
/// Frames whose objects are read at once.
const AT_ONCE: usize = 8;

/// SHA-256.
pub(crate) type Sum = [u8; 32];

/// SHA-256 of bytes.
pub(crate) fn sum(bytes: &[u8]) -> Sum {
    Sha256::digest(bytes).into()
}

/// A label in the cloud's record.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(crate) struct Label {
    pub(crate) program_id: String,
    pub(crate) scores: Vec<Score>,
}

/// A frame's record in the cloud, without what changes while it is decoded.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(crate) struct Record {
    pub(crate) id: Uuid,
    pub(crate) node: String,
    pub(crate) camera: String,
    pub(crate) captured_ms: i64,
    pub(crate) received_ms: i64,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) latent_bits: u64,
    pub(crate) source_bytes: Option<u64>,
    pub(crate) original_bytes: u64,
    pub(crate) program_id: Option<String>,
    pub(crate) label: Option<Label>,
}

impl Record {
    /// Bits of one patch of 32 by 32 pixels.
    pub(crate) fn bits_per_patch(&self) -> u32 {
        let patches = u64::from(self.width.div_ceil(32)) * u64::from(self.height.div_ceil(32));
        (self.latent_bits / patches.max(1)) as u32
    }
}

/// A record and how far its frame is.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Row {
    #[serde(flatten)]
    pub(crate) record: Record,
    pub(crate) state: String,
    pub(crate) failure: String,
    /// `None` of a frame without latents, or whose record was made again.
    pub(crate) latents: Option<Way>,
    /// When it was decoded, by the cloud's clock.
    pub(crate) finished_ms: Option<i64>,
}

/// How latents came to the cloud.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(crate) struct Way {
    /// `plain`, `intra` or `reference`.
    pub(crate) travelled: String,
}

/// Digests of an original.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Original {
    pub(crate) file: Sum,
    /// Digest of the pixels, for a lossless original.
    pub(crate) pixels: Option<Sum>,
}

/// A frame with digests of its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) row: Row,
    /// Digest of the latent container.
    pub(crate) latents: Option<Sum>,
    pub(crate) original: Option<Original>,
    /// When it was looked at, in milliseconds since the Unix epoch.
    pub(crate) seen_ms: i64,
}

/// A page of rows, last arrival first, and where the next begins.
pub(crate) async fn page(
    caller: &Caller,
    cloud: SocketAddr,
    before: Option<Uuid>,
) -> Result<(Vec<Row>, Option<Uuid>)> {
    #[derive(Deserialize)]
    struct Page {
        frames: Vec<Row>,
        next: Option<Uuid>,
    }
    let before = before.map_or(String::new(), |id| format!("&before={id}"));
    let path = format!("/api/v1/frames?limit={PAGE}{before}");
    let page: Page = caller.json(Side::Cloud, cloud, &path).await?;
    Ok((page.frames, page.next))
}

/// All rows, last arrival first.
pub(crate) async fn catalogue(caller: &Caller, cloud: SocketAddr) -> Result<Vec<Row>> {
    let (mut rows, mut next) = page(caller, cloud, None).await?;
    while let Some(before) = next {
        let (more, after) = page(caller, cloud, Some(before)).await?;
        rows.extend(more);
        next = after;
    }
    Ok(rows)
}

/// Reads the objects of rows.
pub(crate) async fn look(objects: &ObjectReader, rows: Vec<Row>) -> Result<Vec<Found>> {
    let all = stream::iter(rows).map(|row| look_at(objects, row));
    all.buffered(AT_ONCE).try_collect().await
}

async fn look_at(objects: &ObjectReader, row: Row) -> Result<Found> {
    let id = row.record.id;
    let frame = objects.get(Kind::Latents, id).await?;
    let latents = frame.as_deref().and_then(latents);
    let original = match row.record.original_bytes {
        0 => None,
        _ => objects.get(Kind::Original, id).await?,
    };
    let original = original.map(|file| tokio::task::spawn_blocking(move || digests(&file)));
    let original = match original {
        Some(original) => Some(original.await.context("a digest")?),
        None => None,
    };
    Ok(Found {
        row,
        latents: latents.map(sum),
        original,
        seen_ms: now_ms(),
    })
}

/// The latents in a frame's object, which ends with a checksum of its own; none where there are none.
fn latents(object: &[u8]) -> Option<&[u8]> {
    let rest = object.strip_prefix(b"PWF1")?;
    let (length, rest) = rest.split_first_chunk()?;
    let (_, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let latents = rest.strip_suffix(rest.last_chunk::<4>()?)?;
    (!latents.is_empty()).then_some(latents)
}

fn digests(file: &[u8]) -> Original {
    // One that cannot be decoded has no pixels, and so differs from the accepted one.
    let decoded = image::load_from_memory_with_format(file, ImageFormat::WebP);
    Original {
        file: sum(file),
        pixels: decoded.ok().map(|image| sum(image.into_rgb8().as_raw())),
    }
}
