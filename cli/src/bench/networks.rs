//! The encoder and the decoder by themselves.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use kernels::Kernel;
use nqe::{Emulator, PATCH_BYTES, Program};
use purenet::Decoder;
use serde::Serialize;

use super::measure::{Peaks, median_time, pool};

/// The frame that is encoded and decoded.
pub(super) const WIDTH: u32 = 1280;
pub(super) const HEIGHT: u32 = 720;
/// Side of the frame for paths without vector instructions, which take milliseconds per patch.
const SCALAR_SIDE: u32 = 96;

/// One path of the encoder.
#[derive(Debug, Serialize)]
pub(super) struct EncoderFigures {
    /// The task of the shipped program.
    pub(super) task: String,
    pub(super) path: &'static str,
    pub(super) threads: usize,
    pub(super) gops: f64,
    pub(super) patches_per_s: f64,
    /// Share of the path's peak on this number of cores; none for the scalar path.
    pub(super) share_of_peak: Option<f64>,
}

/// One path of the decoder on so many threads. Operations are those of the layers as they are defined.
#[derive(Debug, Serialize)]
pub(super) struct DecoderFigures {
    /// Of those that are shipped.
    pub(super) decoder: &'static str,
    pub(super) path: &'static str,
    pub(super) threads: usize,
    pub(super) gops: f64,
    pub(super) megapixels_per_s: f64,
    pub(super) share_of_peak: Option<f64>,
}

/// Both shipped programs on every path; a patch is classified by one thread.
pub(super) fn encoder(
    peaks: &Peaks,
    threads: &[usize],
    span: Duration,
) -> Result<Vec<EncoderFigures>> {
    let load = |bytes| Program::from_bytes(bytes).map(Arc::new);
    let context = "a shipped program does not load";
    let compress = load(patchwire_models::COMPRESS).context(context)?;
    let classify = load(patchwire_models::CLASSIFY).context(context)?;
    let mut rows = Vec::new();
    for kernel in nqe::Kernel::available() {
        let peak = peaks.get(kernel.name());
        let mut row = |program: &Program, threads: usize, patches: u32, time: Duration| {
            let patches_per_s = f64::from(patches) / time.as_secs_f64();
            let operations = 2.0 * program.macs() as f64 * patches_per_s;
            rows.push(EncoderFigures {
                task: program.task().to_string(),
                path: kernel.name(),
                threads,
                gops: operations / 1e9,
                patches_per_s,
                share_of_peak: peak.map(|peak| operations / (peak * threads as f64)),
            });
        };
        let emulator = |program: &Arc<Program>| {
            Emulator::with_kernel(program.clone(), kernel).context("an available path is missing")
        };
        let (encoder, classifier) = (emulator(&compress)?, emulator(&classify)?);
        let (width, height) = match kernel {
            nqe::Kernel::Scalar => (SCALAR_SIDE, SCALAR_SIDE),
            _ => (WIDTH, HEIGHT),
        };
        let rgb = noise((width * height * 3) as usize);
        for &threads in threads {
            let encode = || Ok(encoder.encode_frame(&rgb, width, height)?);
            let pool = pool(threads)?;
            let time = pool.install(|| median_time(span, encode))?;
            row(&compress, threads, patches(width, height), time);
        }
        let time = median_time(span, || Ok(classifier.run_patch(&rgb[..PATCH_BYTES])?))?;
        row(&classify, 1, 1, time);
    }
    Ok(rows)
}

/// Name and file of the decoders that are shipped.
const DECODERS: [(&str, &[u8]); 2] = [
    ("large", patchwire_models::DECODER),
    ("fast", patchwire_models::FAST_DECODER),
];

/// The shipped decoders on every path.
pub(super) fn decoder(
    peaks: &Peaks,
    threads: &[usize],
    span: Duration,
) -> Result<Vec<DecoderFigures>> {
    let mut rows = Vec::new();
    let kernels = Kernel::available();
    let choices = DECODERS
        .iter()
        .flat_map(|decoder| kernels.iter().map(move |&kernel| (decoder, kernel)));
    for (&(name, file), kernel) in choices {
        let decoder = Decoder::with_kernel(file, kernel)
            .context("a shipped decoder does not load")?
            .context("an available path is missing")?;
        let peak = peaks.get(kernel.name());
        let (width, height) = match kernel {
            Kernel::Scalar => (SCALAR_SIDE, SCALAR_SIDE),
            _ => (WIDTH, HEIGHT),
        };
        let patches = patches(width, height);
        let latents = noise((patches * decoder.bits() / 8) as usize);
        for &threads in threads {
            let decode = || Ok(decoder.decode(&latents, width, height)?);
            let time = pool(threads)?.install(|| median_time(span, decode))?;
            let frames_per_s = 1.0 / time.as_secs_f64();
            // Whole patches are computed.
            let computed = f64::from(patches) * 1024.0 * frames_per_s;
            let operations = 2.0 * decoder.macs_per_pixel() * computed;
            rows.push(DecoderFigures {
                decoder: name,
                path: kernel.name(),
                threads,
                gops: operations / 1e9,
                megapixels_per_s: f64::from(width * height) * frames_per_s / 1e6,
                share_of_peak: peak.map(|peak| operations / (peak * threads as f64)),
            });
        }
    }
    Ok(rows)
}

fn patches(width: u32, height: u32) -> u32 {
    width.div_ceil(32) * height.div_ceil(32)
}

/// Bytes without a pattern; the work does not depend on them.
pub(super) fn noise(count: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    (0..count).map(|_| next()).collect()
}
