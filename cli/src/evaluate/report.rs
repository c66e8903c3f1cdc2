//! The figures as JSON and as a table.

use nqe::Program;
use serde::Serialize;

use crate::terminal::{self, figure, grouped};

/// Everything that was measured; what was not asked for is left out of the JSON.
#[derive(Default, Serialize)]
pub(super) struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<Vec<ImageFigures>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mean: Option<MeanFigures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cifar10: Option<Cifar10Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) program: Option<ProgramFacts>,
}

/// One image. A figure that is not defined for it is null: PSNR of an equal image, MS-SSIM of one
/// with a side under 176 pixels, the seam ratio of one without a patch border inside.
#[derive(Serialize)]
pub(super) struct ImageFigures {
    pub(super) name: String,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) bpp: f64,
    pub(super) psnr_db: Option<f64>,
    pub(super) ssim: f64,
    pub(super) ms_ssim: Option<f64>,
    pub(super) seam_ratio: Option<f64>,
}

/// Means over the images for which a figure is defined.
#[derive(Serialize)]
struct MeanFigures {
    bpp: Option<f64>,
    psnr_db: Option<f64>,
    ssim: Option<f64>,
    ms_ssim: Option<f64>,
    seam_ratio: Option<f64>,
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
    pub(super) fn set_images(&mut self, images: Vec<ImageFigures>) {
        self.mean = Some(MeanFigures {
            bpp: mean(images.iter().map(|i| Some(i.bpp))),
            psnr_db: mean(images.iter().map(|i| i.psnr_db)),
            ssim: mean(images.iter().map(|i| Some(i.ssim))),
            ms_ssim: mean(images.iter().map(|i| i.ms_ssim)),
            seam_ratio: mean(images.iter().map(|i| i.seam_ratio)),
        });
        self.images = Some(images);
    }

    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        if let (Some(images), Some(mean)) = (&self.images, &self.mean) {
            let mut table = terminal::table(
                &["image", "size", "bpp", "PSNR dB", "SSIM", "MS-SSIM", "seam"],
                1,
            );
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
            table.add_row([
                "mean".to_owned(),
                String::new(),
                figure(mean.bpp, 4),
                figure(mean.psnr_db, 2),
                figure(mean.ssim, 4),
                figure(mean.ms_ssim, 4),
                figure(mean.seam_ratio, 3),
            ]);
            text += &format!("{table}\n");
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
}

fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let defined: Vec<f64> = values.flatten().collect();
    (!defined.is_empty()).then(|| defined.iter().sum::<f64>() / defined.len() as f64)
}
