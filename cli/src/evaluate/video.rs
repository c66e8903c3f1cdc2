//! The frames of a video, read by ffmpeg.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use edge_node::sources::Ffmpeg;
use patchwire_proto::limits::MAX_SIDE;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _};
use tokio::runtime::{Builder, Runtime};

use crate::args::Part;
use crate::frames::{Frame, file_name};

/// Most frames that are taken, for the figures of each are kept.
const MAX_FRAMES: usize = 100_000;
/// Most bytes of a line of a PPM image's header.
const MAX_LINE: u64 = 32;
/// Added before a frame's number is rounded down, for rates that are no binary fractions.
const SLACK: f64 = 1e-6;

/// The frames that are taken from a video: the nearest at or before each tick of a clock, which starts at the first.
pub(super) struct Choice {
    first: u64,
    last: Option<u64>,
    /// Frames of the video per frame that is taken, at least 1.
    step: f64,
}

impl Choice {
    /// Takes `fps` frames a second from `part` of the video in `path`.
    ///
    /// # Errors
    /// ffmpeg cannot read it, or it has fewer frames a second.
    pub(super) fn new(path: &Path, fps: f64, part: Option<Part>) -> Result<Self> {
        let rate = rate_of(path)?;
        let step = rate / fps;
        ensure!(
            step > 1.0 - SLACK,
            "{} has {rate} frames a second, and --fps may not be larger",
            path.display()
        );
        Ok(Self {
            first: part.map_or(0, |part| part.first),
            last: part.map(|part| part.last),
            step: step.max(1.0),
        })
    }

    /// The filter with which ffmpeg passes these frames only.
    pub(super) fn filter(&self) -> String {
        let Self { first, last, step } = self;
        let until = last.map_or_else(String::new, |last| format!("lte(n,{last})*"));
        format!("select='{until}eq(n,{first}+floor(selected_n*{step}+{SLACK}))'")
    }

    /// Number in the video of the frame that is taken as the `i`-th, from 0.
    pub(super) fn number(&self, i: usize) -> u64 {
        self.first + (i as f64 * self.step + SLACK).floor() as u64
    }

    /// Number of frames that are taken, if it does not depend on the video's end.
    pub(super) fn count(&self) -> Option<usize> {
        let last = self.last?;
        Some((((last - self.first) as f64 + 1.0 - SLACK) / self.step).ceil() as usize)
    }
}

/// Frames of a video, one after the other.
pub(super) struct Video {
    name: String,
    runtime: Runtime,
    ffmpeg: Ffmpeg,
    frames: usize,
}

impl Video {
    /// Opens the video in `path`, of which `filter` passes frames. `options` are ffmpeg's, for the input.
    pub(super) fn open(path: &Path, options: &[&str], filter: &str) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let started =
            runtime.block_on(async { Ffmpeg::lossless(options, path.as_os_str(), filter) });
        Ok(Self {
            name: file_name(path),
            ffmpeg: started.with_context(|| format!("cannot read {}", path.display()))?,
            runtime,
            frames: 0,
        })
    }

    /// The next frame; `None` after the last. It has no name.
    pub(super) fn next(&mut self) -> Result<Option<Frame>> {
        let read = self.runtime.block_on(read_ppm(&mut self.ffmpeg));
        let frame = read.with_context(|| format!("cannot read {}", self.name))?;
        self.frames += usize::from(frame.is_some());
        ensure!(
            self.frames <= MAX_FRAMES,
            "more than {MAX_FRAMES} frames would be taken of {}; --frames takes a part",
            self.name
        );
        Ok(frame)
    }

    /// Whether ffmpeg came to the video's end without an error.
    pub(super) fn end(self) -> Result<()> {
        let ended = self.runtime.block_on(self.ffmpeg.end());
        ended.with_context(|| format!("cannot read {}", self.name))
    }
}

/// Frames a second of a video's first stream of pictures, on average.
fn rate_of(path: &Path) -> Result<f64> {
    let cannot = || format!("cannot read {}", path.display());
    // ffprobe's own message about a missing file is longer.
    std::fs::metadata(path).with_context(cannot)?;
    let mut probe = Command::new("ffprobe");
    probe.args(["-v", "error", "-select_streams", "v:0"]);
    probe.args(["-show_entries", "stream=avg_frame_rate"]);
    probe.args(["-of", "default=noprint_wrappers=1:nokey=1"]);
    let output = probe.arg("-i").arg(path).output();
    let output = output.context("ffprobe, which comes with ffmpeg, does not start")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if let Some(last) = said.lines().rfind(|_| !output.status.success()) {
        bail!("cannot read {}: ffprobe says: {last}", path.display());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let (frames, seconds) = text.trim().split_once('/').unwrap_or_default();
    let rate = frames.parse::<f64>().unwrap_or(0.0) / seconds.parse::<f64>().unwrap_or(0.0);
    ensure!(
        rate.is_finite() && rate > 0.0,
        "{} has no pictures with a frame rate",
        path.display()
    );
    Ok(rate)
}

/// The next image of ffmpeg's output: "P6", width and height, 255, a line each, then the pixels.
async fn read_ppm(ffmpeg: &mut Ffmpeg) -> Result<Option<Frame>> {
    let mut lines = [const { String::new() }; 3];
    for line in &mut lines {
        let mut bytes = Vec::new();
        (&mut ffmpeg.output)
            .take(MAX_LINE)
            .read_until(b'\n', &mut bytes)
            .await?;
        *line = String::from_utf8(bytes)?;
    }
    let [magic, size, depth] = lines.each_ref().map(|line| line.trim_end());
    if magic.is_empty() {
        return Ok(None);
    }
    let sides = size.split_once(' ');
    let sides = sides.and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    let (width, height) = sides
        .filter(|_| (magic, depth) == ("P6", "255"))
        .context("ffmpeg gave something else than PPM images")?;
    ensure!(
        (1..=MAX_SIDE).contains(&width) && (1..=MAX_SIDE).contains(&height),
        "a frame of {width}x{height} pixels is outside 1 to {MAX_SIDE} a side"
    );
    let mut rgb = vec![0; 3 * width as usize * height as usize];
    ffmpeg.output.read_exact(&mut rgb).await?;
    Ok(Some(Frame {
        name: String::new(),
        width,
        height,
        rgb,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_at_or_before_each_tick_is_taken() {
        let part = |step| Choice {
            first: 4,
            last: Some(13),
            step,
        };
        let numbers = |choice: &Choice| -> Vec<u64> {
            let count = choice.count().expect("a part with an end");
            (0..count).map(|i| choice.number(i)).collect()
        };
        assert_eq!(numbers(&part(1.0)), [4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
        assert_eq!(numbers(&part(10.0)), [4]);
        assert_eq!(numbers(&part(9.0)), [4, 13]);
        assert_eq!(numbers(&part(2.5)), [4, 6, 9, 11]);
        // 30 frames a second of 30000/1001.
        assert_eq!(numbers(&part(10.0 / 3.0)), [4, 7, 10]);
    }
}
