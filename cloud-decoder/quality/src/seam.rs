//! Seam ratio: luma differences across patch borders over those inside patches.

use crate::image::luma;
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
pub(crate) fn seam_ratio(rgb: &[u8], width: usize, patch: usize) -> Option<f64> {
    let (pixels, _) = rgb.as_chunks();
    let rows: Vec<&[[u8; 3]]> = pixels.chunks_exact(width).collect();
    let sums = |y| row_sums(&rows, y, patch);
    let rows: Vec<Sums> = (0..rows.len()).into_par_iter().map(sums).collect();
    let mut sums = Sums::default();
    rows.into_iter().for_each(|row| sums.add(row));
    let mean = |sum: f64, count: usize| (sum / count as f64).max(FLOOR);
    (sums.borders > 0).then(|| mean(sums.border, sums.borders) / mean(sums.inside, sums.insides))
}

/// Differences from row `y` to the pixels at the left and, where a border or middle runs above, up.
fn row_sums(rows: &[&[[u8; 3]]], y: usize, patch: usize) -> Sums {
    let mut sums = Sums::default();
    let row = rows[y];
    let step = |a: [u8; 3], b: [u8; 3]| (luma(a) - luma(b)).abs();
    if row.len() > patch {
        let across = |x: usize| step(row[x], row[x - 1]);
        let borders = (patch..row.len()).step_by(patch);
        let insides = (patch / 2..row.len()).step_by(patch);
        sums.borders += borders.len();
        sums.insides += insides.len();
        sums.border += borders.map(across).sum::<f64>();
        sums.inside += insides.map(across).sum::<f64>();
    }
    if rows.len() > patch && y > 0 {
        let across = || {
            row.iter()
                .zip(rows[y - 1])
                .map(|(&a, &b)| step(a, b))
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
