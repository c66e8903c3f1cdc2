//! `evaluate`: the figures that the project stands for, measured through the emulator and the decoder.

mod axis;
mod cifar;
mod figures;
mod images;
mod means;
mod peer;
mod peers;
mod plot;
mod rate;
mod report;
mod sequence;
mod video;
mod video_peers;
mod wire;

use anyhow::Result;

use crate::args::EvaluateArgs;
use crate::{models, terminal};
use report::{ProgramFacts, Report};
use video::Choice;

/// `patchwire evaluate`.
pub(crate) fn run(args: &EvaluateArgs) -> Result<()> {
    let mut report = Report::default();
    if args.images.is_some() || args.video.is_some() {
        pictures(args, &mut report)?;
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
        plot::write(path, &report)?;
    }
    Ok(())
}

/// Images or a video. Peers are read first, so that errors in them show before the long part.
fn pictures(args: &EvaluateArgs, report: &mut Report) -> Result<()> {
    let emulator = models::compressor(args.program.as_deref())?;
    let decoder = models::decoder(args.decoder.as_deref(), args.fast)?;
    let prior = models::prior(args.program.as_deref(), emulator.program())?;
    let peers = args.peers.as_deref();
    let rates = match (&args.images, &args.video, args.fps) {
        (Some(folder), ..) => {
            if let Some(peers) = peers {
                report.peers = peers::measure(peers, folder)?;
            }
            images::measure(folder, &emulator, &decoder, prior.as_ref())?
        }
        (None, Some(path), Some(fps)) => {
            let choice = Choice::new(path, fps, args.frames)?;
            if let Some(peers) = peers {
                report.peers = video_peers::measure(peers, path, (&choice, fps))?;
            }
            let choice = (&choice, fps);
            let (video, rates) =
                sequence::measure(path, choice, &emulator, &decoder, prior.as_ref())?;
            report.video = Some(video);
            rates
        }
        _ => unreachable!("the grammar asks for images, or for a video and its frames a second"),
    };
    report.set_rates(rates, prior.as_deref());
    report.program = Some(ProgramFacts::of(emulator.program()));
    Ok(())
}
