//! Means over time, read from one index.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Catalogue, CatalogueError, from_row::from_row, statement::sql};

/// Most lines of one answer.
pub const MAX_LINES: u32 = 24;

/// Widths that a step may have, in milliseconds, so that steps begin at round times.
const STEPS_MS: [i64; 20] = [
    100,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    15_000,
    30_000,
    60_000,
    2 * 60_000,
    5 * 60_000,
    10 * 60_000,
    15 * 60_000,
    30 * 60_000,
    3_600_000,
    2 * 3_600_000,
    6 * 3_600_000,
    12 * 3_600_000,
    24 * 3_600_000,
    7 * 24 * 3_600_000,
];

/// The meaning of the lines of a [`History`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Lines {
    /// One per camera, for those that sent last.
    #[default]
    Camera,
    /// One per compression program.
    Program,
}

/// Which frames with latents are averaged, and how.
#[derive(Clone, Debug, Default)]
pub struct Span {
    /// First time of capture, milliseconds since the Unix epoch; that of the first frame when `None`.
    pub from_ms: Option<i64>,
    /// Time of capture from which frames are left out.
    pub to_ms: i64,
    /// Most points of a line, within one or two.
    pub points: u32,
    /// One line per camera or program.
    pub lines: Lines,
    /// All cameras when `None`.
    pub camera: Option<String>,
    /// All programs when `None`.
    pub program: Option<[u8; 32]>,
}

/// Means over time of frames with latents.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct History {
    /// First time of capture, milliseconds since the Unix epoch.
    pub from_ms: i64,
    /// Time of capture from which frames are left out.
    pub to_ms: i64,
    /// Width of a step in milliseconds.
    pub step_ms: i64,
    /// At most [`MAX_LINES`].
    pub lines: Vec<Line>,
}

/// Means of one camera or program, oldest first. A value is null where no frame of the step has one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Line {
    /// The camera's id, or the program's in hexadecimal.
    pub name: String,
    /// Mean time of capture, milliseconds since the Unix epoch.
    pub captured_ms: Vec<i64>,
    /// Frames.
    pub frames: Vec<i64>,
    /// PSNR in dB.
    pub psnr_db: Vec<Option<f64>>,
    /// SSIM.
    pub ssim: Vec<Option<f64>>,
    /// MS-SSIM.
    pub ms_ssim: Vec<Option<f64>>,
    /// Seam visibility.
    pub seam_ratio: Vec<Option<f64>>,
    /// Bits per pixel.
    pub bpp: Vec<Option<f64>>,
    /// Share of set latent bits.
    pub latent_ones: Vec<Option<f64>>,
    /// Milliseconds that the encoder took.
    pub encode_ms: Vec<Option<f64>>,
    /// Milliseconds that the decoder took.
    pub decode_ms: Vec<Option<f64>>,
    /// Milliseconds from the camera's frame to the stored reconstruction.
    pub latency_ms: Vec<Option<f64>>,
}

struct Step {
    name: String,
    captured_ms: i64,
    frames: i64,
    psnr_db: Option<f64>,
    ssim: Option<f64>,
    ms_ssim: Option<f64>,
    seam_ratio: Option<f64>,
    bpp: Option<f64>,
    latent_ones: Option<f64>,
    encode_ms: Option<f64>,
    decode_ms: Option<f64>,
    latency_ms: Option<f64>,
}

from_row! {
    Step:
        name, captured_ms, frames, psnr_db, ssim, ms_ssim, seam_ratio, bpp, latent_ones,
        encode_ms, decode_ms, latency_ms
}

/// Columns of a step's means, which follow its name.
const MEANS: &str = ", CAST(avg(captured_ms) AS BIGINT) AS captured_ms, count(*) AS frames, avg(psnr_db) AS psnr_db,
   avg(ssim) AS ssim, avg(ms_ssim) AS ms_ssim, avg(seam_ratio) AS seam_ratio,
   avg(CAST(latent_bits AS DOUBLE PRECISION) / (width * height)) AS bpp, avg(latent_ones) AS latent_ones,
   avg(CAST(encode_ns AS DOUBLE PRECISION)) / 1e6 AS encode_ms,
   avg(CAST(nullif(decode_ns, 0) AS DOUBLE PRECISION)) / 1e6 AS decode_ms,
   avg(CASE WHEN finished_ms > 0
       THEN finished_ms - captured_ms + CAST(encode_ns AS DOUBLE PRECISION) / 1e6 END) AS latency_ms";

impl Catalogue {
    /// Means over time of frames with latents.
    ///
    /// # Errors
    /// The database failed.
    pub async fn history(&self, span: &Span) -> Result<History, CatalogueError> {
        let from_ms = match span.from_ms {
            Some(from_ms) => from_ms,
            None => self.first_captured_ms().await?.unwrap_or(span.to_ms),
        };
        let step_ms = step(span.to_ms.saturating_sub(from_ms), span.points);
        let dialect = self.0.dialect;
        let name = match span.lines {
            Lines::Camera => "camera_id",
            Lines::Program => dialect.program_hex,
        };
        let mut query = sql("SELECT ").push(name).push(" AS name").push(MEANS);
        query = query.push(" FROM frames").push(dialect.history_index);
        query = query
            .push(" WHERE latent_bits > 0 AND captured_ms >= ")
            .value(from_ms);
        query = query.push(" AND captured_ms < ").value(span.to_ms);
        query = match (&span.camera, span.lines) {
            (Some(camera), _) => query.push(" AND camera_id = ").value(camera.as_str()),
            (None, Lines::Camera) => query
                .push(" AND camera_id IN (SELECT camera_id FROM cameras ORDER BY last_seq DESC LIMIT ")
                .value(i64::from(MAX_LINES))
                .push(")"),
            (None, Lines::Program) => query,
        };
        if let Some(program) = &span.program {
            query = query.push(" AND program_id = ").value(&program[..]);
        }
        query = query.push(" GROUP BY name, captured_ms / ").value(step_ms);
        let steps = query.push(" ORDER BY name, captured_ms");
        Ok(History {
            from_ms,
            to_ms: span.to_ms,
            step_ms,
            lines: lines(self.0.rows(steps).await?),
        })
    }

    async fn first_captured_ms(&self) -> Result<Option<i64>, CatalogueError> {
        let index = self.0.dialect.history_index;
        let query = format!("SELECT min(captured_ms) FROM frames{index} WHERE latent_bits > 0");
        let (first,) = self.0.only_row(sql(&query)).await?;
        Ok(first)
    }
}

/// Groups steps, which are sorted by name, into lines.
fn lines(steps: Vec<Step>) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for step in steps {
        if lines.last().is_none_or(|line| line.name != step.name) {
            if lines.len() == MAX_LINES as usize {
                break;
            }
            lines.push(Line {
                name: step.name.clone(),
                ..Line::default()
            });
        }
        lines.last_mut().expect("pushed above").push(step);
    }
    lines
}

/// The width of a step, in milliseconds, with which a span has at most so many points.
fn step(span_ms: i64, points: u32) -> i64 {
    let least = span_ms / i64::from(points.max(1));
    let round = STEPS_MS.into_iter().find(|&step| step >= least);
    round.unwrap_or(least)
}

impl Line {
    fn push(&mut self, step: Step) {
        self.captured_ms.push(step.captured_ms);
        self.frames.push(step.frames);
        self.psnr_db.push(step.psnr_db);
        self.ssim.push(step.ssim);
        self.ms_ssim.push(step.ms_ssim);
        self.seam_ratio.push(step.seam_ratio);
        self.bpp.push(step.bpp);
        self.latent_ones.push(step.latent_ones);
        self.encode_ms.push(step.encode_ms);
        self.decode_ms.push(step.decode_ms);
        self.latency_ms.push(step.latency_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_few_enough() {
        assert_eq!(step(3_600_000, 200), 30_000);
        assert_eq!(step(0, 200), 100);
        let week = step(7 * 24 * 3_600_000, 200);
        assert!(STEPS_MS.contains(&week) && 7 * 24 * 3_600_000 / week <= 200);
        assert_eq!(step(i64::MAX, 1), i64::MAX);
    }
}
