//! `send`: posts image files to an edge node, as a camera would.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::args::SendArgs;
use crate::edge::{Answer, Delivery, Edge};
use crate::frames::{self, file_name, read_bounded};
use crate::terminal::{self, figure};

/// Most bytes of a file; an edge node's own limit is lower unless it was raised.
pub(crate) const MAX_FILE_BYTES: u64 = 1 << 30;
const POLL: Duration = Duration::from_millis(200);
/// Longest that `--wait` goes on without a single frame arriving.
const WAIT_WITHOUT_PROGRESS: Duration = Duration::from_secs(120);

/// A file and what became of it.
struct Sent {
    file: PathBuf,
    answer: Answer,
    delivery: Option<Delivery>,
}

/// `patchwire send`.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(args: SendArgs) -> Result<()> {
    let mut files = Vec::new();
    for path in &args.paths {
        if path.is_dir() {
            files.extend(frames::list(path)?);
        } else {
            files.push(path.clone());
        }
    }
    let edge = Edge::new(&args.edge, args.ca.as_ref(), args.token_file.as_ref())?;
    let mut sent = post(&edge, files, &args).await?;
    if args.wait {
        wait(&edge, &mut sent).await?;
    }
    report(&sent)
}

async fn post(edge: &Edge, files: Vec<PathBuf>, args: &SendArgs) -> Result<Vec<Sent>> {
    let mut pace = args.rate.map(|rate| {
        let mut pace = interval(Duration::from_secs_f64(1.0 / rate));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pace
    });
    let bar = terminal::bar(files.len() as u64, "sending");
    let mut sent = Vec::with_capacity(files.len());
    for file in files {
        if let Some(pace) = &mut pace {
            pace.tick().await;
        }
        let image = read_bounded(&file, MAX_FILE_BYTES)?;
        let answer = edge
            .submit(&args.camera, args.task, &image)
            .await
            .with_context(|| format!("cannot send {}", file.display()))?;
        sent.push(Sent {
            file,
            answer,
            delivery: None,
        });
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(sent)
}

/// Asks for each accepted frame until the cloud has acknowledged it.
async fn wait(edge: &Edge, sent: &mut [Sent]) -> Result<()> {
    let waiting: Vec<&mut Sent> = sent.iter_mut().filter(|s| s.answer.is_ok()).collect();
    let bar = terminal::bar(waiting.len() as u64, "delivering");
    let mut deadline = Instant::now() + WAIT_WITHOUT_PROGRESS;
    for frame in waiting {
        let Ok(accepted) = &frame.answer else {
            continue;
        };
        loop {
            match edge.delivery(accepted.frame_id).await? {
                Delivery::Spooled => {}
                settled => {
                    frame.delivery = Some(settled);
                    break;
                }
            }
            if Instant::now() > deadline {
                bail!(
                    "no frame reached the cloud for {} s; the edge node keeps those that it took",
                    WAIT_WITHOUT_PROGRESS.as_secs()
                );
            }
            sleep(POLL).await;
        }
        deadline = Instant::now() + WAIT_WITHOUT_PROGRESS;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

fn report(sent: &[Sent]) -> Result<()> {
    let mut table = terminal::table(&["frame", "id", "label", "bpp", "state"], 5);
    let mut failed = 0;
    for frame in sent {
        let (id, label, bpp) = match &frame.answer {
            Ok(accepted) => {
                let label = accepted.scores.first();
                let bpp = Some(accepted.bits_per_pixel).filter(|bpp| *bpp > 0.0);
                (
                    accepted.frame_id.to_string(),
                    label.map_or_else(dash, |s| format!("{} {:.2}", s.label, s.score)),
                    figure(bpp, 4),
                )
            }
            Err(_) => (dash(), dash(), dash()),
        };
        let state = match (&frame.answer, &frame.delivery) {
            (Err(reason), _) => Err(reason.clone()),
            (Ok(_), None | Some(Delivery::Spooled)) => Ok("accepted"),
            (Ok(_), Some(Delivery::Delivered | Delivery::Duplicate)) => Ok("delivered"),
            (Ok(_), Some(Delivery::Forgotten)) => Ok("left the edge node"),
            (Ok(_), Some(Delivery::Rejected { reason })) => {
                Err(format!("the cloud rejected it: {reason}"))
            }
            (Ok(_), Some(Delivery::Dropped { reason })) => {
                Err(format!("the edge node dropped it: {reason}"))
            }
        };
        failed += usize::from(state.is_err());
        let state = state.map_or_else(|reason| reason, str::to_owned);
        table.add_row([file_name(&frame.file), id, label, bpp, state]);
    }
    terminal::out(table)?;
    if failed > 0 {
        bail!("{failed} of {} frames did not make it", sent.len());
    }
    Ok(())
}

fn dash() -> String {
    "-".to_owned()
}
