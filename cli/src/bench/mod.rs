//! `bench`: how fast the encoder, the decoder, the latent codec and the pair of services are on this machine.

mod codec;
mod load;
mod measure;
mod networks;
mod peak;

use std::time::Duration;

use anyhow::Result;
use kernels::Kernel;
use serde::Serialize;

use crate::args::BenchArgs;
use crate::terminal;
use codec::CodecFigures;
use load::PairFigures;
use measure::Peaks;
use networks::{DecoderFigures, EncoderFigures};

/// Everything measured. A multiply-accumulate counts as two operations.
#[derive(Debug, Serialize)]
struct Report {
    peaks: Peaks,
    encoder: Vec<EncoderFigures>,
    decoder: Vec<DecoderFigures>,
    codec: Vec<CodecFigures>,
    pair: Vec<PairFigures>,
}

/// `patchwire bench`.
pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    let span = Duration::from_secs_f64(args.seconds);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads: &[usize] = if cores > 1 { &[1, cores] } else { &[1] };
    let peaks: Peaks = Kernel::available()
        .into_iter()
        .filter_map(|kernel| Some((kernel.name().to_owned(), peak::peak(kernel)?)))
        .collect();
    let encoder = networks::encoder(&peaks, threads, span)?;
    let report = Report {
        encoder,
        decoder: networks::decoder(&peaks, threads, span)?,
        codec: codec::measure(span)?,
        pair: if args.networks {
            Vec::new()
        } else {
            load::measure(span)?
        },
        peaks,
    };
    terminal::report(args.json.as_deref(), &report, &table(&report))
}

fn table(report: &Report) -> String {
    let share =
        |share: Option<f64>| share.map_or("-".to_owned(), |s| format!("{:.0} %", 100.0 * s));
    let mut peaks = terminal::table(&["one core at most", "GOP/s"], 1);
    for (name, peak) in &report.peaks {
        peaks.add_row([name.clone(), format!("{:.0}", peak / 1e9)]);
    }
    let header = [
        "encoder",
        "path",
        "threads",
        "GOP/s",
        "patches/s",
        "of peak",
    ];
    let mut encoder = terminal::table(&header, 2);
    for row in &report.encoder {
        encoder.add_row([
            row.task.clone(),
            row.path.to_owned(),
            row.threads.to_string(),
            format!("{:.1}", row.gops),
            format!("{:.0}", row.patches_per_s),
            share(row.share_of_peak),
        ]);
    }
    let header = [
        "decoder",
        "path",
        "threads",
        "GOP/s",
        "megapixels/s",
        "of peak",
    ];
    let mut decoder = terminal::table(&header, 2);
    for row in &report.decoder {
        decoder.add_row([
            row.decoder.to_owned(),
            row.path.to_owned(),
            row.threads.to_string(),
            format!("{:.1}", row.gops),
            format!("{:.2}", row.megapixels_per_s),
            share(row.share_of_peak),
        ]);
    }
    let codec = codec::table(&report.codec);
    let header = [
        "both services",
        "decoder",
        "originals",
        "frames/s",
        "p50 ms",
        "p99 ms",
        "memory MB",
    ];
    let mut pair = terminal::table(&header, 2);
    for row in &report.pair {
        pair.add_row([
            format!("{}x{}", row.width, row.height),
            row.decoder.to_owned(),
            share(Some(row.originals_share)),
            format!("{:.1}", row.frames_per_s),
            format!("{:.0}", row.p50_ms),
            format!("{:.0}", row.p99_ms),
            terminal::figure(row.rss_mb, 0),
        ]);
    }
    let mut text = format!("{peaks}\n{encoder}\n{decoder}\n{codec}");
    if !report.pair.is_empty() {
        text += &format!("\n{pair}");
    }
    text
}
