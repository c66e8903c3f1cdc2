//! Streams of frames: motion JPEG on standard input or in a file, or a video read by ffmpeg.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use edge_node::sources::Ffmpeg;
use media::Jpegs;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::args::SendArgs;
use crate::edge::{Delivery, Edge};
use crate::frames::file_name;
use crate::terminal;

use super::timing::{Pace, left_edge};

/// Endings of the names of videos.
const VIDEOS: [&str; 10] = [
    "mp4", "m4v", "mkv", "mov", "webm", "avi", "ts", "mpg", "mpeg", "y4m",
];
/// Most bytes of a frame. An edge node's own limit is no larger unless it was raised.
const MAX_FRAME_BYTES: usize = 64 << 20;
/// Bytes of one read.
const PIECE: usize = 64 << 10;
/// Most frames on their way to the cloud with `--wait`.
const UNDER_WAY: usize = 256;

/// Whether a path is a stream.
pub(super) fn is_one(path: &Path) -> bool {
    path == Path::new("-") || ends(path, &VIDEOS) || is_motion_jpeg(path)
}

/// Whether a path is motion JPEG. Its frames are sent as they are and damaged ones are reported; ffmpeg would conceal
/// them.
fn is_motion_jpeg(path: &Path) -> bool {
    ends(path, &["mjpeg", "mjpg"])
}

fn ends(path: &Path, endings: &[&str]) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
    endings
        .iter()
        .any(|ending| ending.eq_ignore_ascii_case(extension))
}

/// The outcome of a stream.
#[derive(Default)]
pub(super) struct Streamed {
    pub(super) name: String,
    pub(super) frames: u64,
    /// Mean over the frames that the edge node accepted.
    pub(super) mean_bpp: f64,
    pub(super) delivered: bool,
    pub(super) failed: u64,
    pub(super) first_failure: Option<String>,
}

impl Streamed {
    pub(super) fn new(path: &Path) -> Self {
        let name = match path.to_str() {
            Some("-") => "standard input".to_owned(),
            _ => file_name(path),
        };
        Self {
            name,
            ..Self::default()
        }
    }

    fn fails(&mut self, reason: String) {
        self.failed += 1;
        self.first_failure.get_or_insert(reason);
    }
}

/// The source of the bytes.
enum Pipe {
    Input(mpsc::Receiver<io::Result<Vec<u8>>>),
    Video(Box<Ffmpeg>),
}

impl Pipe {
    fn open(path: &Path, rate: Option<f64>) -> Result<Self> {
        let opened = || format!("cannot open {}", path.display());
        let mut input: Box<dyn Read + Send> = if path == Path::new("-") {
            Box::new(io::stdin())
        } else if is_motion_jpeg(path) {
            Box::new(File::open(path).with_context(opened)?)
        } else {
            // ffmpeg's own message about a missing file is longer.
            std::fs::metadata(path).with_context(opened)?;
            let ffmpeg = Ffmpeg::start(&[], path.as_os_str(), rate);
            let ffmpeg = ffmpeg.with_context(|| format!("cannot read {}", path.display()))?;
            return Ok(Self::Video(Box::new(ffmpeg)));
        };
        let (sender, pieces) = mpsc::channel(1);
        // Nobody waits for this thread, since standard input may never end.
        std::thread::spawn(move || {
            loop {
                let mut piece = vec![0; PIECE];
                let read = input.read(&mut piece).map(|read| {
                    piece.truncate(read);
                    piece
                });
                let ended = read.as_ref().map_or(true, Vec::is_empty);
                if sender.blocking_send(read).is_err() || ended {
                    return;
                }
            }
        });
        Ok(Self::Input(pieces))
    }

    /// The next bytes; empty at the end.
    async fn read(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Self::Input(pieces) => pieces.recv().await.unwrap_or(Ok(Vec::new())),
            Self::Video(ffmpeg) => {
                let mut piece = vec![0; PIECE];
                let read = ffmpeg.output.read(&mut piece).await?;
                piece.truncate(read);
                Ok(piece)
            }
        }
    }
}

/// Posts each frame of a stream; with `--wait`, until the cloud has acknowledged all of them.
pub(super) async fn post(
    edge: &Edge,
    path: &Path,
    args: &SendArgs,
    streamed: &mut Streamed,
) -> Result<()> {
    let name = streamed.name.clone();
    let mut pipe = Pipe::open(path, args.rate)?;
    let mut pace = Pace::new(args.rate);
    let mut jpegs = Jpegs::new(MAX_FRAME_BYTES);
    let mut under_way = VecDeque::new();
    let counter = terminal::counter(&name);
    let mut ended = false;
    while !ended {
        let piece = pipe.read().await;
        let piece = piece.with_context(|| format!("cannot read {name}"))?;
        ended = piece.is_empty();
        jpegs.push(&piece);
        let mut next = || {
            if ended {
                jpegs.take_rest()
            } else {
                jpegs.take()
            }
        };
        while let Some(frame) = next().with_context(|| format!("cannot read {name}"))? {
            pace.tick().await;
            streamed.frames += 1;
            let answer = edge.submit(&args.camera, args.task, &frame).await;
            let number = streamed.frames;
            match answer.with_context(|| format!("cannot send frame {number} of {name}"))? {
                Ok(accepted) => {
                    let taken = (number - streamed.failed) as f64;
                    let more = accepted.bits_per_pixel - streamed.mean_bpp;
                    streamed.mean_bpp += more / taken;
                    under_way.push_back(accepted.frame_id);
                }
                Err(reason) => streamed.fails(reason),
            }
            counter.inc(1);
            if !args.wait {
                under_way.clear();
            } else if under_way.len() > UNDER_WAY {
                deliver(edge, &mut under_way, UNDER_WAY, streamed).await?;
            }
        }
    }
    if let Pipe::Video(ffmpeg) = pipe {
        ffmpeg
            .end()
            .await
            .with_context(|| format!("cannot read {name}"))?;
    }
    if streamed.frames == 0 {
        bail!("there is no frame in {name}");
    }
    deliver(edge, &mut under_way, 0, streamed).await?;
    streamed.delivered = args.wait;
    counter.finish_and_clear();
    Ok(())
}

/// Waits until at most `most` frames are in progress.
async fn deliver(
    edge: &Edge,
    under_way: &mut VecDeque<Uuid>,
    most: usize,
    streamed: &mut Streamed,
) -> Result<()> {
    while under_way.len() > most {
        let Some(id) = under_way.pop_front() else {
            break;
        };
        match left_edge(edge, id).await? {
            Delivery::Rejected { reason } | Delivery::Dropped { reason } => streamed.fails(reason),
            _ => {}
        }
    }
    Ok(())
}
