//! The latent codec by itself, on one core.

use std::time::Duration;

use ::latent::codec;
use ::latent::references::Reference;
use anyhow::{Context, Result};
use comfy_table::Table;
use serde::Serialize;

use super::measure::median_time;
use super::networks::{HEIGHT, WIDTH, noise};
use crate::demo::samples;
use crate::frames::Frame;
use crate::latents::compress;
use crate::{models, terminal};

/// A sample photograph of 1280x720 in the latent codec.
#[derive(Debug, Serialize)]
pub(super) struct CodecFigures {
    /// Whether it refers to a frame before: the same photograph with a noise of one level.
    pub(super) referenced: bool,
    pub(super) encode_ms: f64,
    pub(super) decode_ms: f64,
    /// Latent bits that are coded in a second.
    pub(super) encoded_bits_per_s: f64,
    pub(super) decoded_bits_per_s: f64,
}

/// The codec on a frame alone, and on one with a frame before.
pub(super) fn measure(span: Duration) -> Result<Vec<CodecFigures>> {
    let emulator = models::compressor(None)?;
    let prior = models::prior(None, emulator.program())?;
    let prior = prior.context("the shipped program has no prior")?;
    let photograph = samples(WIDTH, HEIGHT)?.next().context("no samples")??;
    let before = Frame {
        name: String::new(),
        width: WIDTH,
        height: HEIGHT,
        rgb: photograph.into_raw(),
    };
    let mut frame = Frame {
        rgb: before.rgb.clone(),
        name: String::new(),
        ..before
    };
    let noise = noise(frame.rgb.len());
    for (value, noise) in frame.rgb.iter_mut().zip(noise) {
        *value = value.saturating_add(noise % 3).saturating_sub(1);
    }
    let reference = Reference::new(compress(&emulator, &before)?);
    let latents = compress(&emulator, &frame)?;
    let mut rows = Vec::new();
    for reference in [None, Some(&reference)] {
        let encode = median_time(span, || Ok(codec::encode(&prior, &latents, reference)))?;
        let coded = codec::encode(&prior, &latents, reference);
        let decode = || Ok(codec::decode(&prior, &coded, reference, || true)?);
        let decode = median_time(span, decode)?;
        let bits = latents.total_bits() as f64;
        rows.push(CodecFigures {
            referenced: reference.is_some(),
            encode_ms: 1e3 * encode.as_secs_f64(),
            decode_ms: 1e3 * decode.as_secs_f64(),
            encoded_bits_per_s: bits / encode.as_secs_f64(),
            decoded_bits_per_s: bits / decode.as_secs_f64(),
        });
    }
    Ok(rows)
}

/// A line for each row.
pub(super) fn table(rows: &[CodecFigures]) -> Table {
    let header = [
        "latent codec",
        "encode ms",
        "decode ms",
        "encode Mbit/s",
        "decode Mbit/s",
    ];
    let mut codec = terminal::table(&header, 1);
    for row in rows {
        let mode = if row.referenced {
            "after a frame before"
        } else {
            "alone"
        };
        codec.add_row([
            mode.to_owned(),
            format!("{:.1}", row.encode_ms),
            format!("{:.1}", row.decode_ms),
            format!("{:.1}", row.encoded_bits_per_s / 1e6),
            format!("{:.1}", row.decoded_bits_per_s / 1e6),
        ]);
    }
    codec
}
