//! `fit-prior`: the prior of the latent codec for a program, from latents that it has made.

use std::path::Path;

use ::latent::{LatentFrame, fit};
use anyhow::{Context, Result, ensure};

use crate::args::FitPriorArgs;
use crate::latents::{self, write};
use crate::terminal::{self, grouped, out};

/// Most latent containers of a folder.
const MAX_FILES: usize = 100_000;
/// Steps of the progress bar.
const STEPS: u64 = 1000;

/// `patchwire fit-prior`.
pub(crate) fn run(args: &FitPriorArgs) -> Result<()> {
    let stills = read(&args.stills)?;
    let videos = args.videos.iter().map(|folder| read(folder));
    let videos: Vec<_> = videos.collect::<Result<_>>()?;
    let LatentFrame { program, bits, .. } = stills[0];
    for frame in videos.iter().flatten().chain(&stills) {
        ensure!(
            (frame.program, frame.bits) == (program, bits),
            "all latents must be of one program and have as many bits a patch, and some differ from the first of {}",
            args.stills.display()
        );
    }
    let frames = videos.iter().flatten().count();
    let (count, bar) = (stills.len(), terminal::bar(STEPS, "prior"));
    let progress = |share: f64| bar.set_position((share * STEPS as f64) as u64);
    let file = fit::fit(program, bits, stills, &videos, progress);
    bar.finish_and_clear();
    write(&args.output, &file)?;
    let line = format!(
        "{}: {} bytes, fitted to {count} frames alone and {frames} of {} cameras",
        args.output.display(),
        grouped(file.len() as u64),
        videos.len()
    );
    Ok(out(line)?)
}

/// The latents of a folder's containers, in the order of their names.
fn read(folder: &Path) -> Result<Vec<LatentFrame>> {
    let cannot = || format!("cannot read {}", folder.display());
    let files = std::fs::read_dir(folder).with_context(cannot)?;
    let files = files.map(|entry| Ok(entry?.path()));
    let mut files: Vec<_> = files.collect::<Result<_>>().with_context(cannot)?;
    files.retain(|path| path.extension().is_some_and(|ending| ending == "pwl"));
    files.sort();
    ensure!(!files.is_empty(), "{} has no .pwl files", folder.display());
    ensure!(
        files.len() <= MAX_FILES,
        "{} has {} .pwl files, allowed are {MAX_FILES}",
        folder.display(),
        files.len()
    );
    files.iter().map(|path| latents::read(path, None)).collect()
}
