//! The figures as JSON and as tables.

use std::fmt::Display;

use nqe::Program;
use serde::Serialize;

use super::figures::{ImageFigures, MeanFigures, mean};
use super::images::Rate;
use super::peers::Peer;
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
}

/// Means at one of the decoder's rates.
#[derive(Serialize)]
pub(super) struct RateFigures {
    /// Bits per patch.
    bits: u32,
    #[serde(flatten)]
    pub(super) mean: MeanFigures,
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

impl ProgramFacts {
    pub(super) fn of(program: &Program) -> Self {
        Self {
            id: program.id().to_string(),
            bits: program.memory().total(),
        }
    }
}

impl Report {
    /// Takes the figures of all rates, of which the last is all bits of a patch.
    pub(super) fn set_rates(&mut self, mut rates: Vec<Rate>) {
        self.rates = rates
            .iter()
            .map(|rate| RateFigures {
                bits: rate.bits,
                mean: MeanFigures::of(&rate.images),
            })
            .collect();
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
            text += &format!("{}\n", images_table(images, mean));
            text += &format!("{}\n", self.rates_table());
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

    /// One row a codec and rate: means over all images.
    fn rates_table(&self) -> impl Display {
        let header = [
            "codec",
            "bits/patch",
            "bpp",
            "PSNR dB",
            "SSIM",
            "MS-SSIM",
            "seam",
        ];
        let mut table = terminal::table(&header, 1);
        let ours = self.rates.iter().map(|r| ("patchwire", r.bits, &r.mean));
        let peers = self.peers.iter();
        let theirs = peers.map(|p| (p.codec.as_str(), p.bits, &p.mean));
        for (codec, bits, mean) in ours.chain(theirs) {
            let names = [codec.to_owned(), bits.to_string()];
            table.add_row(names.into_iter().chain(cells(mean)));
        }
        let mut original = ["original", "", "", "", "", "", ""].map(str::to_owned);
        original[6] = figure(self.original_seam_ratio, 3);
        table.add_row(original);
        table
    }
}

/// One row per image, at all bits of a patch.
fn images_table(images: &[ImageFigures], mean: &MeanFigures) -> impl Display + use<> {
    let header = ["image", "size", "bpp", "PSNR dB", "SSIM", "MS-SSIM", "seam"];
    let mut table = terminal::table(&header, 1);
    for image in images {
        table.add_row([
            image.name.clone(),
            format!("{}x{}", image.width, image.height),
            figure(Some(image.bpp), 4),
            figure(image.psnr_db, 2),
            figure(Some(image.ssim), 4),
            figure(image.ms_ssim, 4),
            figure(image.seam_ratio, 3),
        ]);
    }
    let names = ["mean".to_owned(), String::new()];
    table.add_row(names.into_iter().chain(cells(mean)));
    table
}

fn cells(mean: &MeanFigures) -> [String; 5] {
    [
        figure(mean.bpp, 4),
        figure(mean.psnr_db, 2),
        figure(mean.ssim, 4),
        figure(mean.ms_ssim, 4),
        figure(mean.seam_ratio, 3),
    ]
}
