//! The figures as JSON and as tables.

use std::fmt::Display;

use ::latent::prior::Prior;
use nqe::Program;
use serde::Serialize;

use super::figures::{ImageFigures, MeanFigures};
use super::means::mean;
use super::peer::Peer;
use super::rate::Rate;
use super::sequence::VideoFacts;
use super::wire::{Load, Wire};
use crate::terminal::{self, figure, grouped};

/// All measurements; those that were not requested are left out of the JSON.
#[derive(Default, Serialize)]
pub(super) struct Report {
    /// At all bits of a patch.
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<Vec<ImageFigures>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mean: Option<MeanFigures>,
    /// Mean seam ratio of the images themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    original_seam_ratio: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) rates: Vec<RateFigures>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) peers: Vec<Peer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cifar10: Option<Cifar10Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) program: Option<ProgramFacts>,
    /// Of all bits of a patch.
    #[serde(skip_serializing_if = "Option::is_none")]
    codec: Option<CodecFacts>,
    /// The frames that `images` are of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) video: Option<VideoFacts>,
}

/// Means at one of the decoder's rates.
#[derive(Serialize)]
pub(super) struct RateFigures {
    /// Bits per patch.
    bits: u32,
    #[serde(flatten)]
    pub(super) mean: MeanFigures,
    #[serde(flatten)]
    pub(super) load: Option<Load>,
}

/// CIFAR-10: the share of test images whose class was found, 0 to 1.
#[derive(Serialize)]
pub(super) struct Cifar10Figures {
    pub(super) top1: f64,
    pub(super) count: usize,
}

/// The program that was measured: of the two, the one to compress.
#[derive(Serialize)]
pub(super) struct ProgramFacts {
    id: String,
    /// Bits of the chip's memory in use.
    bits: u64,
}

/// The codec that latents travelled in.
#[derive(Serialize)]
struct CodecFacts {
    /// Id of its prior; `None` if the program has none and the latents were not coded.
    prior: Option<String>,
    /// Mean time of a frame on one core, in milliseconds.
    encode_ms: f64,
    decode_ms: f64,
}

impl ProgramFacts {
    pub(super) fn of(program: &Program) -> Self {
        Self {
            id: program.id().to_string(),
            bits: program.memory().total(),
        }
    }
}

impl Report {
    /// Takes the figures of all rates, of which the last is all bits of a patch. `prior` is that of the codec.
    pub(super) fn set_rates(&mut self, mut rates: Vec<Rate>, prior: Option<&Prior>) {
        self.rates = rates
            .iter()
            .map(|rate| RateFigures {
                bits: rate.bits,
                mean: MeanFigures::of(&rate.images),
                load: rate.load,
            })
            .collect();
        self.codec = rates.last().map(|rate| {
            let (encode_ms, decode_ms) = rate.stream.mean_ms();
            CodecFacts {
                prior: prior.map(|prior| prior.id().to_string()),
                encode_ms,
                decode_ms,
            }
        });
        self.mean = self.rates.last().map(|rate| rate.mean.clone());
        self.images = rates.pop().map(|rate| rate.images);
        self.original_seam_ratio = mean(
            self.images
                .iter()
                .flatten()
                .map(|image| image.original_seam_ratio),
        );
    }

    /// All tables and lines, for a terminal.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        if let (Some(images), Some(mean)) = (&self.images, &self.mean) {
            if self.video.is_none() {
                text += &format!("{}\n", images_table(images, mean));
            }
            text += &format!("{}\n", self.rates_table());
        }
        if let Some(video) = &self.video {
            text += &format!(
                "{} frames, {} a second\n",
                grouped(video.frames as u64),
                video.fps
            );
        }
        if let Some(codec) = &self.codec {
            text += &match &codec.prior {
                Some(prior) => format!(
                    "codec: {:.2} ms a frame to encode, {:.2} ms to decode, prior {prior}\n",
                    codec.encode_ms, codec.decode_ms
                ),
                None => "latents travelled as they are: the program has no prior\n".to_owned(),
            };
        }
        if let Some(cifar10) = &self.cifar10 {
            text += &format!(
                "CIFAR-10 top-1: {:.2} % of {} images\n",
                100.0 * cifar10.top1,
                grouped(cifar10.count as u64)
            );
        }
        if let Some(program) = &self.program {
            text += &format!(
                "program {}: {} of {} bits",
                program.id,
                grouped(program.bits),
                grouped(nqe::BUDGET_BITS)
            );
        }
        text
    }

    /// One row a codec and rate: means over all images. Those of a video have their load instead of bits per pixel.
    fn rates_table(&self) -> impl Display {
        let rate = self.video.as_ref().map_or("bpp", |_| "kbit/s");
        let header = [
            &["codec", "bits/patch", rate][..],
            &[
                "wire bpp",
                "wire/latent",
                "PSNR dB",
                "SSIM",
                "MS-SSIM",
                "seam",
            ],
        ];
        let mut table = terminal::table(&header.concat(), 1);
        for RateFigures { bits, mean, load } in &self.rates {
            let rate = match load {
                Some(load) => figure(Some(load.kbit_s), 1),
                None => figure(mean.bpp, 4),
            };
            table.add_row(row("patchwire", *bits, rate, mean));
        }
        for RateFigures { bits, mean, load } in &self.rates {
            let Some(load) = load else { continue };
            let alone = load.intra_wire_bits_per_latent_bit;
            let alone = Wire {
                wire_bpp: alone * mean.bpp.unwrap_or_default(),
                wire_bits_per_latent_bit: alone,
            };
            let without = [
                ("patchwire, intra", load.intra_kbit_s, Some(alone)),
                ("patchwire, plain", load.plain_kbit_s, None),
            ];
            for (name, kbit_s, wire) in without {
                let mean = MeanFigures {
                    wire,
                    ..mean.clone()
                };
                table.add_row(row(name, *bits, figure(Some(kbit_s), 1), &mean));
            }
        }
        for peer in &self.peers {
            let rate = match &peer.video {
                Some(video) => figure(Some(video.kbit_s), 1),
                None => figure(peer.mean.bpp, 4),
            };
            table.add_row(row(&peer.codec, peer.bits, rate, &peer.mean));
        }
        let mut original = vec![String::new(); header.concat().len()];
        original[0] = "original".to_owned();
        original[header.concat().len() - 1] = figure(self.original_seam_ratio, 3);
        table.add_row(original);
        table
    }
}

fn row(codec: &str, bits: u32, rate: String, mean: &MeanFigures) -> Vec<String> {
    let mut row = vec![codec.to_owned(), bits.to_string(), rate];
    row.extend(cells(mean));
    row
}

/// One row per image, at all bits of a patch.
fn images_table(images: &[ImageFigures], mean: &MeanFigures) -> impl Display + use<> {
    let header = [
        "image",
        "size",
        "bpp",
        "wire bpp",
        "wire/latent",
        "PSNR dB",
        "SSIM",
        "MS-SSIM",
        "seam",
    ];
    let mut table = terminal::table(&header, 1);
    for image in images {
        table.add_row([
            image.name.clone(),
            format!("{}x{}", image.width, image.height),
            figure(Some(image.bpp), 4),
            figure(image.wire.map(|wire| wire.wire_bpp), 4),
            figure(image.wire.map(|wire| wire.wire_bits_per_latent_bit), 3),
            figure(image.psnr_db, 2),
            figure(Some(image.ssim), 4),
            figure(image.ms_ssim, 4),
            figure(image.seam_ratio, 3),
        ]);
    }
    let mut means = vec!["mean".to_owned(), String::new(), figure(mean.bpp, 4)];
    means.extend(cells(mean));
    table.add_row(means);
    table
}

fn cells(mean: &MeanFigures) -> [String; 6] {
    [
        figure(mean.wire.map(|wire| wire.wire_bpp), 4),
        figure(mean.wire.map(|wire| wire.wire_bits_per_latent_bit), 3),
        figure(mean.psnr_db, 2),
        figure(mean.ssim, 4),
        figure(mean.ms_ssim, 4),
        figure(mean.seam_ratio, 3),
    ]
}
