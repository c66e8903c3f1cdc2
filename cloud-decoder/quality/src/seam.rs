//! Seam ratio: luma differences across patch borders over those inside patches.

use crate::image::Luma;
use rayon::prelude::*;

/// Smallest mean difference that counts, in gray levels.
const FLOOR: f64 = 1.0 / 16.0;

/// Sums of absolute differences, and how many there are.
#[derive(Clone, Copy, Default)]
struct Sums {
    border: f64,
    borders: usize,
    inside: f64,
    insides: usize,
}

impl Sums {
    fn add(&mut self, other: Sums) {
        self.border += other.border;
        self.borders += other.borders;
        self.inside += other.inside;
        self.insides += other.insides;
    }
}

/// The ratio for patches of `patch` pixels, at least 2.
pub(crate) fn seam_ratio(luma: &Luma, patch: usize) -> Option<f64> {
    let rows: Vec<Sums> = (0..luma.height())
        .into_par_iter()
        .map(|y| row_sums(luma, y, patch))
        .collect();
    let mut sums = Sums::default();
    rows.into_iter().for_each(|row| sums.add(row));
    let mean = |sum: f64, count: usize| (sum / count as f64).max(FLOOR);
    (sums.borders > 0).then(|| mean(sums.border, sums.borders) / mean(sums.inside, sums.insides))
}

/// Differences from row `y` to the pixels at the left and, where a border or middle runs above, up.
fn row_sums(luma: &Luma, y: usize, patch: usize) -> Sums {
    let mut sums = Sums::default();
    let row = luma.row(y);
    if luma.width() > patch {
        let across = |x: usize| (row[x] - row[x - 1]).abs();
        let borders = (patch..luma.width()).step_by(patch);
        let insides = (patch / 2..luma.width()).step_by(patch);
        sums.borders += borders.len();
        sums.insides += insides.len();
        sums.border += borders.map(across).sum::<f64>();
        sums.inside += insides.map(across).sum::<f64>();
    }
    if luma.height() > patch && y > 0 {
        let across = || {
            row.iter()
                .zip(luma.row(y - 1))
                .map(|(a, b)| (a - b).abs())
                .sum::<f64>()
        };
        if y.is_multiple_of(patch) {
            sums.border += across();
            sums.borders += row.len();
        } else if y % patch == patch / 2 {
            sums.inside += across();
            sums.insides += row.len();
        }
    }
    sums
}
