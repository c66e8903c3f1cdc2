//! SSIM and MS-SSIM on luma planes, in `f64`.

use crate::image::Luma;
use rayon::prelude::*;

const WINDOW: usize = 11;
const SIGMA: f64 = 1.5;
const C1: f64 = (0.01 * 255.0) * (0.01 * 255.0);
const C2: f64 = (0.03 * 255.0) * (0.03 * 255.0);
const SCALE_WEIGHTS: [f64; 5] = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333];

/// SSIM and MS-SSIM of one pair.
pub(crate) struct Similarities {
    pub(crate) ssim: f64,
    pub(crate) ms_ssim: f64,
}

/// Mean SSIM; sides below the window are mirrored.
pub(crate) fn ssim(first: &Luma, second: &Luma) -> f64 {
    if first.width().min(first.height()) < WINDOW {
        return scale(&first.mirrored_to(WINDOW), &second.mirrored_to(WINDOW)).ssim;
    }
    scale(first, second).ssim
}

/// Both metrics of planes whose sides are at least `MS_SSIM_MIN_SIDE`.
pub(crate) fn similarities(mut first: Luma, mut second: Luma) -> Similarities {
    let mut ms_ssim = 1.0;
    let mut full = 0.0;
    for (index, weight) in SCALE_WEIGHTS.into_iter().enumerate() {
        let means = scale(&first, &second);
        if index == 0 {
            full = means.ssim;
        }
        let coarsest = index + 1 == SCALE_WEIGHTS.len();
        let term = if coarsest { means.ssim } else { means.contrast };
        ms_ssim *= term.max(0.0).powf(weight);
        if !coarsest {
            (first, second) = (first.halved(), second.halved());
        }
    }
    Similarities {
        ssim: full,
        ms_ssim,
    }
}

/// Means over all windows of one scale: SSIM and its contrast-structure term.
#[derive(Clone, Copy, Default)]
struct Means {
    ssim: f64,
    contrast: f64,
}

fn scale(first: &Luma, second: &Luma) -> Means {
    let kernel = gaussian();
    let (width, height) = (first.width() - WINDOW + 1, first.height() - WINDOW + 1);
    let rows: Vec<Means> = (0..height)
        .into_par_iter()
        .map_init(
            || Moments::new(first.width()),
            |moments, y| {
                moments.filter_columns(first, second, y, &kernel);
                row_sums(moments, width, &kernel)
            },
        )
        .collect();
    let mut total = Means::default();
    for row in rows {
        total.ssim += row.ssim;
        total.contrast += row.contrast;
    }
    let count = (width * height) as f64;
    Means {
        ssim: total.ssim / count,
        contrast: total.contrast / count,
    }
}

/// Column-filtered moments of one row of windows: means of a, b, a^2 + b^2 and ab.
struct Moments([Vec<f64>; 4]);

impl Moments {
    fn new(width: usize) -> Self {
        Self(std::array::from_fn(|_| vec![0.0; width]))
    }

    fn filter_columns(&mut self, first: &Luma, second: &Luma, y: usize, kernel: &[f64; WINDOW]) {
        let [mean_a, mean_b, squares, products] = &mut self.0;
        for moment in [&mut *mean_a, mean_b, squares, products] {
            moment.fill(0.0);
        }
        for (dy, &weight) in kernel.iter().enumerate() {
            let outputs = mean_a
                .iter_mut()
                .zip(&mut *mean_b)
                .zip(squares.iter_mut().zip(&mut *products));
            let inputs = first.row(y + dy).iter().zip(second.row(y + dy));
            for (((mean_a, mean_b), (square, product)), (&a, &b)) in outputs.zip(inputs) {
                *mean_a += weight * a;
                *mean_b += weight * b;
                *square += weight * (a * a + b * b);
                *product += weight * (a * b);
            }
        }
    }
}

/// Filters the moments along the row and sums both maps over its `width` windows.
fn row_sums(moments: &Moments, width: usize, kernel: &[f64; WINDOW]) -> Means {
    const BLOCK: usize = 64; // windows filtered together, on the stack
    let mut sums = Means::default();
    for start in (0..width).step_by(BLOCK) {
        let count = BLOCK.min(width - start);
        let mut filtered = [[0.0; BLOCK]; 4];
        for (out, moment) in filtered.iter_mut().zip(&moments.0) {
            for (dx, &weight) in kernel.iter().enumerate() {
                for (out, value) in out.iter_mut().zip(&moment[start + dx..][..count]) {
                    *out += weight * value;
                }
            }
        }
        let [mean_a, mean_b, squares, products] = &filtered;
        for x in 0..count {
            let (ab, aa_bb) = (mean_a[x] * mean_b[x], mean_a[x].powi(2) + mean_b[x].powi(2));
            let contrast = (2.0 * (products[x] - ab) + C2) / (squares[x] - aa_bb + C2);
            sums.contrast += contrast;
            sums.ssim += contrast * (2.0 * ab + C1) / (aa_bb + C1);
        }
    }
    sums
}

fn gaussian() -> [f64; WINDOW] {
    let weights: [f64; WINDOW] = std::array::from_fn(|i| {
        let distance = i as f64 - (WINDOW / 2) as f64;
        (-distance * distance / (2.0 * SIGMA * SIGMA)).exp()
    });
    let sum: f64 = weights.iter().sum();
    weights.map(|weight| weight / sum)
}
