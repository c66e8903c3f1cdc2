//! `evaluate`: the figures that the project stands for, measured through the emulator and the decoder.

mod cifar;
mod figures;
mod images;
mod peers;
mod plot;
mod report;

use anyhow::Result;

use crate::args::EvaluateArgs;
use crate::{models, terminal};
use report::{ProgramFacts, Report};

/// `patchwire evaluate`.
pub(crate) fn run(args: &EvaluateArgs) -> Result<()> {
    let mut report = Report::default();
    if let Some(folder) = &args.images {
        // Read first, so that errors in them show before the long part.
        if let Some(peers) = &args.peers {
            report.peers = peers::measure(peers, folder)?;
        }
        let emulator = models::compressor(args.program.as_deref())?;
        let decoder = models::decoder(args.decoder.as_deref(), args.fast)?;
        report.set_rates(images::measure(folder, &emulator, &decoder)?);
        report.program = Some(ProgramFacts::of(emulator.program()));
    }
    if let Some(folder) = &args.cifar10 {
        let emulator = models::classifier(args.classifier.as_deref())?;
        report.cifar10 = Some(cifar::measure(folder, &emulator)?);
        if report.program.is_none() {
            report.program = Some(ProgramFacts::of(emulator.program()));
        }
    }
    terminal::report(args.json.as_deref(), &report, &report.table())?;
    if let Some(path) = &args.plot {
        plot::write(path, &report.rates, &report.peers)?;
    }
    Ok(())
}
