//! `send`: posts images, videos and motion JPEG to an edge node, as a camera would.

mod stream;
mod timing;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::args::SendArgs;
use crate::edge::{Answer, Delivery, Edge, Score};
use crate::frames::{self, MAX_FILE_BYTES, file_name, read_bounded};
use crate::terminal::{self, figure};

use self::stream::Streamed;
use self::timing::{Pace, left_edge};

/// A file, the edge node's answer, and with `--wait` the frame's delivery.
struct Sent {
    file: PathBuf,
    answer: Answer,
    delivery: Option<Delivery>,
}

/// `patchwire send`.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(args: SendArgs) -> Result<()> {
    let (mut files, mut streams) = (Vec::new(), Vec::new());
    for path in &args.paths {
        if path.is_dir() {
            files.extend(frames::list(path)?);
        } else if stream::is_one(path) {
            streams.push(path);
        } else {
            files.push(path.clone());
        }
    }
    let edge = Edge::new(&args.edge, &args.access)?;
    let (mut sent, mut streamed) = (Vec::with_capacity(files.len()), Vec::new());
    let ended = post(&edge, files, streams, &args, &mut sent, &mut streamed).await;
    // Frames that were sent are reported even after an early end.
    let (failed, first) = report(&sent, &streamed)?;
    ended?;
    let frames = sent.len() as u64 + streamed.iter().map(|stream| stream.frames).sum::<u64>();
    if let Some(first) = first {
        bail!("{failed} of {frames} frames did not make it, the first: {first}");
    }
    Ok(())
}

/// Posts everything. The outcomes are in `sent` and `streamed`, also after an early end.
async fn post(
    edge: &Edge,
    files: Vec<PathBuf>,
    streams: Vec<&PathBuf>,
    args: &SendArgs,
    sent: &mut Vec<Sent>,
    streamed: &mut Vec<Streamed>,
) -> Result<()> {
    let mut pace = Pace::new(args.rate);
    let bar = terminal::bar(files.len() as u64, "sending");
    for file in files {
        pace.tick().await;
        let answer = match read_bounded(&file, MAX_FILE_BYTES) {
            Ok(image) => edge
                .submit(&args.camera, args.task, &image)
                .await
                .with_context(|| format!("cannot send {}", file.display()))?,
            Err(error) => Err(format!("{error:#}")),
        };
        sent.push(Sent {
            file,
            answer,
            delivery: None,
        });
        bar.inc(1);
    }
    bar.finish_and_clear();
    let mut ended = Ok(());
    for path in streams {
        let mut stream = Streamed::new(path);
        let posted = stream::post(edge, path, args, &mut stream).await;
        streamed.push(stream);
        // The first error is reported at the end.
        match (&ended, posted) {
            (Ok(()), posted) => ended = posted,
            (Err(_), Err(error)) => eprintln!("{error:#}"),
            (Err(_), Ok(())) => {}
        }
    }
    if args.wait {
        wait(edge, sent).await?;
    }
    ended
}

/// Asks for each accepted frame until the cloud has acknowledged it.
async fn wait(edge: &Edge, sent: &mut [Sent]) -> Result<()> {
    let waiting: Vec<&mut Sent> = sent.iter_mut().filter(|s| s.answer.is_ok()).collect();
    let bar = terminal::bar(waiting.len() as u64, "delivering");
    for frame in waiting {
        if let Ok(accepted) = &frame.answer {
            frame.delivery = Some(left_edge(edge, accepted.frame_id).await?);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

/// A label and its score, and whether to rely on it.
fn label_cell(best: &Score) -> String {
    match best.score >= patchwire_models::SURE {
        true => format!("{} {:.2}", best.label, best.score),
        false => format!("unsure ({} {:.2})", best.label, best.score),
    }
}

/// Prints the outcome of each file and stream. Gives how many frames failed, and the first of them.
fn report(sent: &[Sent], streamed: &[Streamed]) -> Result<(u64, Option<String>)> {
    let mut table = terminal::table(&["frame", "id", "label", "bpp", "state"], 5);
    let (mut failed, mut first) = (0, None);
    let mut fails = |frames: u64, name: &str, reason: &str| {
        failed += frames;
        first.get_or_insert_with(|| format!("{name}: {reason}"));
    };
    for frame in sent {
        let (id, label, bpp) = match &frame.answer {
            Ok(accepted) => {
                let label = accepted.scores.first();
                let bpp = Some(accepted.bits_per_pixel).filter(|bpp| *bpp > 0.0);
                (
                    accepted.frame_id.to_string(),
                    label.map_or_else(dash, label_cell),
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
        let name = file_name(&frame.file);
        if let Err(reason) = &state {
            fails(1, &name, reason);
        }
        let state = state.map_or_else(|reason| reason, str::to_owned);
        table.add_row([name, id, label, bpp, state]);
    }
    for stream in streamed.iter().filter(|stream| stream.frames > 0) {
        if let Some(reason) = &stream.first_failure {
            fails(stream.failed, &stream.name, reason);
        }
        let state = match &stream.first_failure {
            Some(reason) => format!("{} did not make it, the first: {reason}", stream.failed),
            None if stream.delivered => "delivered".to_owned(),
            None => "accepted".to_owned(),
        };
        let bpp = Some(stream.mean_bpp).filter(|bpp| *bpp > 0.0);
        let count = format!("{} frames", stream.frames);
        let row = [stream.name.clone(), count, dash(), figure(bpp, 4), state];
        table.add_row(row);
    }
    if !table.is_empty() {
        terminal::out(table)?;
    }
    Ok((failed, first))
}

fn dash() -> String {
    "-".to_owned()
}
