//! One pass over the frames: posted to the edge node, awaited at the cloud, shown row by row.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use futures::{StreamExt, stream};
use indicatif::ProgressBar;
use patchwire_proto::v1::{FrameRecord, FrameState};
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use super::feed::Shot;
use crate::args::Task;
use crate::edge::{Answer, Edge};
use crate::terminal::{self, figure, out};
use crate::watch::Watch;

/// Longest wait for all results: a fixed part for slow machines, and a part for each frame.
const PATIENCE: Duration = Duration::from_secs(120);
const PATIENCE_PER_FRAME: Duration = Duration::from_secs(15);

/// The outcome of a pass.
pub(super) struct Pass<'a> {
    frames: usize,
    started: Instant,
    bar: ProgressBar,
    /// Posted and not back yet.
    pending: HashMap<Uuid, &'a Shot>,
    /// Back before the edge node's answer to the post was.
    early: HashMap<Uuid, FrameRecord>,
    /// Whether changes were missed while frames were being posted.
    missed: bool,
    measured: Vec<FrameRecord>,
    /// Frames that did not make it, each with a reason.
    failures: Vec<String>,
}

impl<'a> Pass<'a> {
    /// Posts `shots`, each after `pause`, and waits for all of them. Frames that fail do not end it.
    pub(super) async fn run(
        edge: &Edge,
        watch: &mut Watch,
        shots: &'a [Shot],
        pause: Duration,
    ) -> Result<Self> {
        let mut pass = Self {
            frames: shots.len(),
            started: Instant::now(),
            bar: terminal::bar(shots.len() as u64, "frames"),
            pending: HashMap::new(),
            early: HashMap::new(),
            missed: false,
            measured: Vec::new(),
            failures: Vec::new(),
        };
        let deadline = pass.started + PATIENCE + (PATIENCE_PER_FRAME + pause) * shots.len() as u32;
        let mut answers = std::pin::pin!(stream::iter(shots).then(async |shot| {
            sleep(pause).await;
            let answer = edge.submit(shot.camera, Task::Both, &shot.image()?).await?;
            Ok::<_, anyhow::Error>((shot, answer))
        }));
        let mut posting = true;
        while posting || !pass.pending.is_empty() {
            tokio::select! {
                answer = answers.next(), if posting => match answer {
                    Some(answer) => {
                        let (shot, answer) = answer?;
                        pass.posted(shot, answer)?;
                        if pass.missed {
                            pass.catch_up(watch).await?;
                        }
                    }
                    None => {
                        posting = false;
                        pass.early.clear();
                    }
                },
                change = watch.next() => match change? {
                    Some(record) => pass.changed(record, posting)?,
                    None => {
                        // A missed change may be of a frame whose answer has not come yet.
                        pass.missed = posting;
                        pass.catch_up(watch).await?;
                    }
                },
                () = sleep_until(deadline) => {
                    let waited = pass.started.elapsed().as_secs();
                    for shot in pass.pending.values() {
                        pass.failures.push(format!("{} did not come back in {waited} s", shot.name));
                    }
                    break;
                }
            }
        }
        pass.bar.finish_and_clear();
        Ok(pass)
    }

    /// Fails unless every frame was reconstructed and measured.
    pub(super) fn verdict(&self) -> Result<()> {
        if !self.failures.is_empty() {
            bail!(
                "{} of {} frames were not reconstructed and measured: {}",
                self.failures.len(),
                self.frames,
                self.failures.join("; ")
            );
        }
        ensure!(
            self.measured.len() == self.frames,
            "{} results came back for {} frames",
            self.measured.len(),
            self.frames
        );
        Ok(())
    }

    /// The means, and how long it took.
    pub(super) fn print_summary(&self) -> io::Result<()> {
        let mean = |value: fn(&FrameRecord) -> Option<f64>| {
            let values: Vec<f64> = self.measured.iter().filter_map(value).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        print_row(
            "mean",
            "",
            "",
            [
                mean(|r| Some(r.bits_per_pixel)),
                mean(|r| r.quality?.psnr_db),
                mean(|r| r.quality?.ms_ssim),
                mean(|r| r.quality?.seam_ratio),
            ],
        )?;
        out(format_args!(
            "\n{} of {} frames reconstructed and measured in {:.1} s.",
            self.measured.len(),
            self.frames,
            self.started.elapsed().as_secs_f64()
        ))
    }

    fn posted(&mut self, shot: &'a Shot, answer: Answer) -> io::Result<()> {
        match answer {
            Ok(accepted) => {
                self.pending.insert(accepted.frame_id, shot);
                match self.early.remove(&accepted.frame_id) {
                    Some(record) => self.changed(record, true),
                    None => Ok(()),
                }
            }
            Err(reason) => self.failed(shot, &reason),
        }
    }

    fn changed(&mut self, record: FrameRecord, posting: bool) -> io::Result<()> {
        if matches!(record.state(), FrameState::Queued | FrameState::Unspecified) {
            return Ok(());
        }
        let Ok(id) = Uuid::from_slice(&record.frame_id) else {
            return Ok(());
        };
        let Some(shot) = self.pending.remove(&id) else {
            if posting {
                self.early.insert(id, record);
            }
            return Ok(());
        };
        let measured = record.quality.is_some_and(|quality| quality.ssim.is_some());
        if record.state() != FrameState::Decoded || !measured {
            let reason = match record.failure.as_str() {
                "" => "it was not measured",
                failure => failure,
            };
            return self.failed(shot, reason);
        }
        let label = record.label.as_ref().and_then(|label| label.scores.first());
        let quality = record.quality.unwrap_or_default();
        self.bar.suspend(|| {
            print_row(
                &shot.name,
                shot.camera,
                match label {
                    Some(best) if best.score >= patchwire_models::SURE => &best.label,
                    Some(_) => "unsure",
                    None => "-",
                },
                [
                    Some(record.bits_per_pixel),
                    quality.psnr_db,
                    quality.ms_ssim,
                    quality.seam_ratio,
                ],
            )
        })?;
        self.bar.inc(1);
        self.measured.push(record);
        Ok(())
    }

    fn failed(&mut self, shot: &Shot, reason: &str) -> io::Result<()> {
        let failure = format!("{}: {reason}", shot.name);
        self.bar.suspend(|| out(&failure))?;
        self.bar.inc(1);
        self.failures.push(failure);
        Ok(())
    }

    /// Asks for every frame that is waited for, because changes were missed.
    async fn catch_up(&mut self, watch: &mut Watch) -> Result<()> {
        let pending: Vec<Uuid> = self.pending.keys().copied().collect();
        for id in pending {
            if let Some(record) = watch.get(id).await? {
                self.changed(record, false)?;
            }
        }
        Ok(())
    }
}

/// The names of the columns.
pub(super) fn print_header() -> io::Result<()> {
    out(format_args!(
        "{:<16} {:<12} {:<12} {:>8} {:>8} {:>8} {:>7}",
        "frame", "camera", "label", "bpp", "PSNR dB", "MS-SSIM", "seam"
    ))
}

fn print_row(name: &str, camera: &str, label: &str, figures: [Option<f64>; 4]) -> io::Result<()> {
    let [bpp, psnr, ms_ssim, seam] = figures;
    out(format_args!(
        "{name:<16} {camera:<12} {label:<12} {:>8} {:>8} {:>8} {:>7}",
        figure(bpp, 4),
        figure(psnr, 2),
        figure(ms_ssim, 4),
        figure(seam, 3)
    ))
}
