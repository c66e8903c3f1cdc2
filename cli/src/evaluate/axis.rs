//! The axis of the rate in a plot.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;

/// Places of ticks on the axis of kbit/s, within each power of ten.
const STEPS: [f64; 3] = [1.0, 2.0, 5.0];

/// Units of a rate.
#[derive(Clone, Copy)]
pub(super) enum Axis {
    /// Bits per pixel, from 0.
    Pixels,
    /// kbit/s, as their decimal logarithm.
    Load,
}

impl Axis {
    /// The axis' title.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Pixels => "bits per pixel",
            Self::Load => "kbit/s",
        }
    }

    /// Coordinate of a rate.
    pub(super) fn place(self, rate: f64) -> f64 {
        match self {
            Self::Pixels => rate,
            Self::Load => rate.log10(),
        }
    }

    /// The part of the axis that has points at these coordinates.
    pub(super) fn span(self, places: impl Iterator<Item = f64> + Clone) -> Span {
        let (left, right) = match self {
            Self::Pixels => (0.0, places.fold(0.05, f64::max) * 1.04),
            Self::Load => {
                let low = places.clone().fold(f64::INFINITY, f64::min);
                let high = places.fold(f64::NEG_INFINITY, f64::max);
                (low - 0.1, high + 0.1)
            }
        };
        Span {
            axis: self,
            left,
            right,
        }
    }

    /// The label of a tick.
    pub(super) fn label(self, place: f64) -> String {
        match self {
            Self::Pixels => format!("{place:.2}"),
            Self::Load => {
                let rate = 10_f64.powf(place);
                let digits = if rate < 0.95 { 1 } else { 0 };
                format!("{rate:.digits$}")
            }
        }
    }
}

/// A part of an axis.
#[derive(Clone)]
pub(super) struct Span {
    axis: Axis,
    left: f64,
    right: f64,
}

impl Ranged for Span {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        RangedCoordf64::from(self.range()).map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match self.axis {
            Axis::Pixels => RangedCoordf64::from(self.range()).key_points(hint),
            Axis::Load => {
                let powers = self.left.floor() as i32..=self.right.ceil() as i32;
                let ticks = powers.flat_map(|power| STEPS.map(|s| s.log10() + f64::from(power)));
                ticks.filter(|tick| self.range().contains(tick)).collect()
            }
        }
    }

    fn range(&self) -> Range<f64> {
        self.left..self.right
    }
}
