//! `edge-node spool`: an operator's commands for the spool.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use edge_node::{
    config,
    metrics::Metrics,
    spool::{Part, Spool, SpoolFile, StoredFrame},
};
use latent::LatentFrame;
use patchwire_proto::v1::EncodedFrame;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// List the frames, oldest first; the node may be running
    Ls(Of),
    /// Check the file and every frame; exit with 1 if there is damage. The node may be running
    Verify,
    /// Write latents (ID.pwl, for `patchwire decode`) and originals into a folder; the node may be running
    Export {
        #[command(flatten)]
        of: Of,
        /// Folder, created if it does not exist
        folder: PathBuf,
    },
    /// Drop frames for good; the node must be stopped
    #[command(group = clap::ArgGroup::new("what").required(true))]
    Drop {
        /// Frames older than this, for example 36h or 10days
        #[arg(long, group = "what", value_name = "AGE", value_parser = humantime::parse_duration)]
        older_than: Option<Duration>,
        /// All frames that wait for the cloud
        #[arg(long, group = "what")]
        all: bool,
        /// Frames in quarantine
        #[arg(long, group = "what")]
        quarantine: bool,
    },
}

#[derive(Args)]
pub(crate) struct Of {
    /// Frames in quarantine instead of frames that wait for the cloud
    #[arg(long)]
    quarantine: bool,
}

impl Of {
    fn part(&self) -> Part {
        match self.quarantine {
            true => Part::Quarantine,
            false => Part::Queue,
        }
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(action: Action, config: &config::Spool) -> anyhow::Result<()> {
    let place = || format!("spool {}", config.path.display());
    match action {
        Action::Ls(of) => list(&config.path, of.part()).await,
        Action::Verify => verify(&config.path).await,
        Action::Export { of, folder } => export(&config.path, of.part(), &folder).await,
        Action::Drop {
            older_than,
            quarantine,
            ..
        } => drop_frames(config, older_than, quarantine).await,
    }
    .with_context(place)
}

/// Calls `with` for each frame of a part, in order.
async fn each(
    path: &Path,
    part: Part,
    mut with: impl FnMut(StoredFrame) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let file = SpoolFile::open(path).await?;
    let mut seq = 0;
    while let Some(stored) = file.next_after(part, seq).await? {
        seq = stored.seq;
        with(stored)?;
    }
    file.close().await;
    Ok(())
}

async fn list(path: &Path, part: Part) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    each(path, part, |stored| {
        let (id, time, bytes) = (stored.frame_id, time(stored.created_ms), stored.bytes);
        let what = match &stored.frame {
            Ok(frame) => described(frame),
            Err(damage) => format!("damaged: {damage}"),
        };
        let why = stored
            .reason
            .map_or(String::new(), |why| format!("; {why}"));
        writeln!(out, "{id}  {time}  {bytes:>9} bytes  {what}{why}")?;
        Ok(())
    })
    .await
}

/// Camera, size and contents of a frame.
fn described(frame: &EncodedFrame) -> String {
    let latents = LatentFrame::decode(frame.latents.clone());
    let bits = latents.map_or("label only".to_owned(), |latents| {
        format!("{} bits per patch", latents.bits)
    });
    let original = if frame.original.is_some() {
        ", with original"
    } else {
        ""
    };
    let (camera, width, height) = (&frame.camera_id, frame.width, frame.height);
    format!("{camera}  {width}x{height}  {bits}{original}")
}

async fn verify(path: &Path) -> anyhow::Result<()> {
    let file = SpoolFile::open(path).await?;
    let problems = file.problems().await?;
    file.close().await;
    for problem in &problems {
        writeln!(io::stdout(), "{problem}")?;
    }
    if !problems.is_empty() {
        bail!(
            "the file is damaged, the node's next start saves its readable frames into a new one"
        );
    }
    let (mut frames, mut damaged) = (0u64, 0u64);
    each(path, Part::Queue, |stored| {
        frames += 1;
        if let Err(damage) = stored.frame {
            damaged += 1;
            writeln!(io::stdout(), "{}: {damage}", stored.frame_id)?;
        }
        Ok(())
    })
    .await?;
    if damaged > 0 {
        bail!("{damaged} of {frames} frames are damaged");
    }
    writeln!(io::stdout(), "{frames} frames, none damaged")?;
    Ok(())
}

async fn export(path: &Path, part: Part, folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let (mut frames, mut left) = (0u64, 0u64);
    each(path, part, |stored| {
        let Ok(frame) = stored.frame else {
            left += 1;
            return Ok(());
        };
        let write = |extension: &str, bytes: &[u8]| {
            let file = folder.join(format!("{}.{extension}", stored.frame_id));
            fs::write(&file, bytes).with_context(|| format!("cannot write {}", file.display()))
        };
        if !frame.latents.is_empty() {
            write("pwl", &frame.latents)?;
        }
        if let Some(original) = &frame.original {
            let extension = original.media_type.rsplit('/').next().unwrap_or("img");
            write(extension, &original.data)?;
        }
        frames += 1;
        Ok(())
    })
    .await?;
    let folder = folder.display();
    writeln!(io::stdout(), "{frames} frames written to {folder}")?;
    if left > 0 {
        bail!("{left} damaged frames were left out");
    }
    Ok(())
}

async fn drop_frames(
    config: &config::Spool,
    older_than: Option<Duration>,
    quarantine: bool,
) -> anyhow::Result<()> {
    if !config.path.exists() {
        bail!("there is no such file");
    }
    let spool = Spool::open(config, Metrics::new([])).await?;
    let reason = "an operator dropped it";
    let dropped = if quarantine {
        spool.drop_quarantine().await?
    } else {
        let before = older_than.map_or(i64::MAX, |age| {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            let kept_from = since.unwrap_or_default().saturating_sub(age);
            i64::try_from(kept_from.as_millis()).unwrap_or(i64::MAX)
        });
        spool.drop_older(before, reason).await?
    };
    spool.close().await;
    writeln!(io::stdout(), "dropped: {dropped}")?;
    Ok(())
}

fn time(unix_ms: i64) -> impl std::fmt::Display {
    let since = Duration::from_millis(unix_ms.max(0) as u64);
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since)
}
