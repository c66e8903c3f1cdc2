//! Rate-distortion plot: PSNR and MS-SSIM over bits per pixel, or over kbit/s of a video, as SVG.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::Ranged as _;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::{Axis, Span};
use super::figures::MeanFigures;
use super::peer::Unit;
use super::report::{RateFigures, Report};

const SIZE: (u32, u32) = (1200, 440);
const FONT: &str = "Helvetica, Arial, sans-serif";
/// Sizes as plotters has them, 1.24 times those in the file.
const SMALL: i32 = 16;
const LARGE: i32 = 18;
const TITLE: i32 = 20;
const PAPER: RGBColor = RGBColor(255, 255, 255);
const INK: RGBColor = RGBColor(31, 35, 40);
const SOFT: RGBColor = RGBColor(101, 109, 118);
const GRID: RGBColor = RGBColor(234, 238, 242);
const OURS: RGBColor = RGBColor(200, 40, 30);
/// Colours of peers, in the order in which their codecs come; all have a contrast of 3 or more on the paper.
const THEIRS: [RGBColor; 7] = [
    RGBColor(0, 110, 190),
    RGBColor(20, 125, 70),
    RGBColor(125, 75, 185),
    RGBColor(165, 100, 0),
    RGBColor(0, 125, 135),
    RGBColor(95, 95, 95),
    RGBColor(185, 45, 125),
];
/// Room for labels right of each panel, and the least distance between two, in pixels.
const LABELS: u32 = 164;
const LABEL_STEP: i32 = 16;

/// A codec: its means at each of its rates.
struct Series<'a> {
    name: String,
    color: RGBColor,
    /// Bits per pixel or kbit/s, and the means.
    points: Vec<(f64, &'a MeanFigures)>,
    /// Codes patches at a constant bitrate; drawn as markers.
    marker: bool,
    line: Line,
}

/// How a series is drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    /// As our latents travel.
    Ours,
    /// As they would otherwise.
    OursThin,
    Theirs,
}

/// A figure with its name above the panel.
struct Metric {
    title: &'static str,
    digits: usize,
    of: fn(&MeanFigures) -> Option<f64>,
}

const METRICS: [Metric; 2] = [
    Metric {
        title: "PSNR, dB",
        digits: 1,
        of: |mean| mean.psnr_db,
    },
    Metric {
        title: "MS-SSIM, luma",
        digits: 2,
        of: |mean| mean.ms_ssim,
    },
];

/// Writes the plot to `path`.
pub(super) fn write(path: &Path, report: &Report) -> Result<()> {
    let mut svg = String::new();
    let axis = match report.video {
        Some(_) => Axis::Load,
        None => Axis::Pixels,
    };
    draw(&mut svg, axis, &series(report)).map_err(|error| anyhow!("cannot plot: {error}"))?;
    std::fs::write(path, svg).with_context(|| format!("cannot write {}", path.display()))
}

/// Peers in the order of their first row, then ours, so that it is drawn on top.
fn series(report: &Report) -> Vec<Series<'_>> {
    let mut all: Vec<Series<'_>> = Vec::new();
    for peer in &report.peers {
        let rate = peer.video.as_ref().map(|video| video.kbit_s);
        let Some(rate) = rate.or(peer.mean.bpp) else {
            continue;
        };
        if let Some(known) = all.iter_mut().find(|s| s.name == peer.codec) {
            known.points.push((rate, &peer.mean));
        } else {
            all.push(Series {
                name: peer.codec.clone(),
                color: THEIRS[all.len() % THEIRS.len()],
                points: vec![(rate, &peer.mean)],
                marker: peer.unit == Unit::Patch,
                line: Line::Theirs,
            });
        }
    }
    let mut ours = |name: &str, line, rate: fn(&RateFigures) -> Option<f64>| {
        let points = report
            .rates
            .iter()
            .filter_map(|r| Some((rate(r)?, &r.mean)));
        all.push(Series {
            name: name.to_owned(),
            color: OURS,
            points: points.collect(),
            marker: false,
            line,
        });
    };
    match report.video {
        Some(_) => {
            ours("patchwire, plain", Line::OursThin, |r| {
                Some(r.load?.plain_kbit_s)
            });
            ours("patchwire, intra", Line::OursThin, |r| {
                Some(r.load?.intra_kbit_s)
            });
            ours("patchwire", Line::Ours, |r| Some(r.load?.kbit_s));
        }
        None => {
            ours("patchwire, plain", Line::OursThin, |r| r.mean.bpp);
            ours("patchwire", Line::Ours, |r| Some(r.mean.wire?.wire_bpp));
        }
    }
    all
}

type Drawn = Result<(), Box<dyn std::error::Error>>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Span, RangedCoordf64>>;

fn draw(svg: &mut String, axis: Axis, series: &[Series<'_>]) -> Drawn {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&PAPER)?;
    for (area, metric) in root.split_evenly((1, 2)).iter().zip(&METRICS) {
        panel(&root, area, axis, metric, series)?;
    }
    root.present()?;
    Ok(())
}

fn panel(
    root: &DrawingArea<SVGBackend<'_>, Shift>,
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    axis: Axis,
    metric: &Metric,
    series: &[Series<'_>],
) -> Drawn {
    let curves: Vec<(&Series<'_>, Vec<(f64, f64)>)> = series
        .iter()
        .map(|s| {
            let figures = s.points.iter();
            let mut points: Vec<_> = figures
                .filter_map(|&(rate, mean)| Some((axis.place(rate), (metric.of)(mean)?)))
                .collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            (s, points)
        })
        .collect();
    let points = || curves.iter().flat_map(|(_, points)| points.iter().copied());
    let span = axis.span(points().map(|p| p.0));
    let right = span.range().end;
    let (low, high) = range(points().map(|p| p.1));

    let title = (FONT, TITLE).into_font().color(&INK);
    area.draw(&Text::new(metric.title, (24, 18), &title))?;
    let small = (FONT, SMALL).into_font().color(&SOFT);
    let mut chart = ChartBuilder::on(area)
        .margin_top(48)
        .margin_right(LABELS)
        .margin_bottom(12)
        .margin_left(8)
        .x_label_area_size(44)
        .y_label_area_size(48)
        .build_cartesian_2d(span, low..high)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(SOFT)
        .x_labels(6)
        .y_labels(7)
        .x_label_formatter(&|&x| axis.label(x))
        .y_label_formatter(&|y| format!("{y:.*}", metric.digits))
        .label_style(small.clone())
        .x_desc(axis.title())
        .axis_desc_style(small)
        .draw()?;

    let mut labels = Vec::new();
    for (series, points) in &curves {
        curve(&mut chart, series, points)?;
        if let Some(end) = points.last() {
            let (_, y) = chart.backend_coord(end);
            labels.push((y, *series));
        }
    }
    let (x, _) = chart.backend_coord(&(right, low));
    for (y, series) in spread(labels) {
        let font = if series.line == Line::Ours {
            (FONT, LARGE, FontStyle::Bold).into_font()
        } else {
            (FONT, SMALL).into_font()
        };
        let style = font.color(&series.color);
        let style = style.pos(Pos::new(HPos::Left, VPos::Center));
        root.draw(&Text::new(series.name.as_str(), (x + 8, y), style))?;
    }
    Ok(())
}

/// The points of a series, joined by a line unless they are marks of their own.
fn curve(chart: &mut Chart<'_, '_>, series: &Series<'_>, points: &[(f64, f64)]) -> Drawn {
    let color = series.color;
    let width = match series.line {
        Line::Ours => 4,
        Line::OursThin => 1,
        Line::Theirs => 2,
    };
    if !series.marker {
        chart.draw_series(LineSeries::new(
            points.iter().copied(),
            color.stroke_width(width),
        ))?;
    }
    for &point in points {
        if series.marker {
            let cross = Cross::new(point, 6, color.stroke_width(2));
            chart.draw_series([cross])?;
        } else {
            let dot = Circle::new(point, width + 1, color.filled());
            chart.draw_series([dot])?;
        }
    }
    Ok(())
}

/// Least and greatest value with a margin.
fn range(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let low = values.clone().fold(f64::INFINITY, f64::min);
    let high = values.fold(f64::NEG_INFINITY, f64::max);
    if low > high {
        return (0.0, 1.0);
    }
    let margin = (0.06 * (high - low)).max(0.005);
    (low - margin, high + margin)
}

/// Labels from top to bottom, moved apart so that none lies on another.
fn spread<'a, 'b>(mut labels: Vec<(i32, &'a Series<'b>)>) -> Vec<(i32, &'a Series<'b>)> {
    labels.sort_by_key(|label| label.0);
    // Each step moves two neighbours that are too close apart by the same amount.
    for _ in 0..100 {
        for i in 1..labels.len() {
            let lacking = LABEL_STEP - (labels[i].0 - labels[i - 1].0);
            if lacking > 0 {
                labels[i - 1].0 -= lacking / 2;
                labels[i].0 += lacking - lacking / 2;
            }
        }
    }
    labels
}
