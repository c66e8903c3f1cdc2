//! `verify`: whether a picture is the one that its decoder makes of its latents.

use std::process::ExitCode;

use ::latent::LatentFrame;
use anyhow::{Context, Result};
use uuid::Uuid;

use crate::args::{Access, VerifyArgs};
use crate::frames::{MAX_FILE_BYTES, read_bounded};
use crate::http::{self, Http};
use crate::latents::{self, MAX_CONTAINER_BYTES, reconstruct};
use crate::models;
use crate::terminal::{grouped, out};

/// The exit status when it cannot be told, as that of `cmp`.
const UNKNOWN: u8 = 2;

/// Latents and the picture that is said to be made of them.
struct Pair {
    /// The picture's name in messages.
    name: String,
    picture: Vec<u8>,
    latents: LatentFrame,
}

/// `patchwire verify`.
pub(crate) fn run(args: &VerifyArgs) -> ExitCode {
    let told = check(args).and_then(|(same, sentence)| {
        out(sentence)?;
        Ok(same)
    });
    match told {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("patchwire: {error:#}");
            UNKNOWN.into()
        }
    }
}

/// Whether the picture is that of its latents, and the sentence that says so.
fn check(args: &VerifyArgs) -> Result<(bool, String)> {
    let Pair {
        name,
        picture,
        latents,
    } = match (&args.latents, &args.picture, args.cloud.as_deref()) {
        (Some(latents), Some(picture), _) => Pair {
            name: picture.display().to_string(),
            picture: read_bounded(picture, MAX_FILE_BYTES)?,
            latents: latents::read(latents, args.decoder.as_deref())?,
        },
        (_, _, Some([url, id])) => fetch(url, id, &args.access)?,
        _ => unreachable!("the grammar asks for two files, or for a cloud and an id"),
    };
    let media_type = media::media_type(&picture);
    let media_type =
        media_type.map_err(|reason| anyhow::anyhow!("cannot read {name}: {reason}"))?;
    let id = media::reconstruction::decoder(&picture);
    let id = id.with_context(|| format!("{name} names no decoder: it is of an earlier one"))?;
    let decoder = hex(id);
    let loaded = models::decoder_with_id(id, args.decoder.as_deref())?;
    let loaded = loaded.with_context(|| {
        format!("{name} is of decoder {decoder}, which is not at hand; --decoder gives its file")
    })?;
    let (width, height) = (latents.width, latents.height);
    let found = media::size(&picture, media_type);
    let found = found.with_context(|| format!("cannot read {name}"))?;
    if found != (width, height) {
        let sentence = format!(
            "{name} has {}x{} pixels, its latents are of {width}x{height}",
            found.0, found.1
        );
        return Ok((false, sentence));
    }
    let stored = media::decode_as(&picture, media_type, (width, height));
    let stored = stored.with_context(|| format!("cannot read {name}"))?;
    let (differ, largest) = differences(&stored, &reconstruct(&loaded, &latents)?);
    let pixels = grouped(u64::from(width) * u64::from(height));
    let sentence = match differ {
        0 => format!("{name} is the same in all {pixels} pixels, by decoder {decoder}"),
        _ => format!(
            "{name} differs in {} of {pixels} pixels, by {largest} of 255 at most, by decoder {decoder}",
            grouped(differ)
        ),
    };
    Ok((differ == 0, sentence))
}

/// The number of pixels that differ, and the largest difference of a value.
fn differences(a: &[u8], b: &[u8]) -> (u64, u8) {
    let pixels = a.chunks_exact(3).zip(b.chunks_exact(3));
    let differ = pixels.filter(|(a, b)| a != b).count() as u64;
    let values = a.iter().zip(b).map(|(a, b)| a.abs_diff(*b));
    (differ, values.max().unwrap_or(0))
}

/// Latents and picture of a frame of a running cloud.
#[tokio::main(flavor = "current_thread")]
async fn fetch(url: &str, id: &str, access: &Access) -> Result<Pair> {
    let id = Uuid::parse_str(id).with_context(|| format!("{id} is not the id of a frame"))?;
    let cloud = Http::new(url, access)?;
    let get = async |file: &str, limit| {
        let path = format!("api/v1/frames/{id}/{file}");
        http::body(cloud.get("the cloud", &path).await?, limit).await
    };
    let picture = get("reconstruction.png", MAX_FILE_BYTES).await?;
    let container = get("latents.pwl", MAX_CONTAINER_BYTES).await?;
    let latents = LatentFrame::decode(container.into());
    Ok(Pair {
        name: format!("the picture of frame {id}"),
        picture,
        latents: latents.context("the cloud gives no latent container")?,
    })
}

fn hex(id: [u8; 32]) -> String {
    nqe::ProgramId::from(id).to_string()
}
