//! SSIM and MS-SSIM on luma planes: maps in `f32`, their means in `f64`.

use crate::image::Luma;
use rayon::prelude::*;

const WINDOW: usize = 11;
const SIGMA: f64 = 1.5;
const C1: f32 = (0.01 * 255.0) * (0.01 * 255.0);
const C2: f32 = (0.03 * 255.0) * (0.03 * 255.0);
/// Taken from luma before its squares are summed: they differ by less, and `f32` holds them more exactly.
const MIDDLE_GRAY: f32 = 128.0;
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

impl Means {
    fn add(&mut self, other: Self) {
        self.ssim += other.ssim;
        self.contrast += other.contrast;
    }
}

fn scale(first: &Luma, second: &Luma) -> Means {
    let kernel = gaussian();
    let (width, height) = (first.width() - WINDOW + 1, first.height() - WINDOW + 1);
    let (columns, bands) = (width.div_ceil(BLOCK), height.div_ceil(BAND));
    let tiles: Vec<Means> = (0..columns * bands)
        .into_par_iter()
        .map(|tile| {
            let (x, y) = (tile % columns * BLOCK, tile / columns * BAND);
            let (columns, rows) = (BLOCK.min(width - x), BAND.min(height - y));
            tile_sums(first, second, (x, y), (columns, rows), &kernel)
        })
        .collect();
    let mut total = Means::default();
    tiles.into_iter().for_each(|tile| total.add(tile));
    let count = (width * height) as f64;
    Means {
        ssim: total.ssim / count,
        contrast: total.contrast / count,
    }
}

/// Windows of a row that are filtered together, and rows of a tile: what a tile needs at once stays in the nearest
/// cache.
const BLOCK: usize = 64;
const BAND: usize = 64;

/// Weights of the window from its edge to its middle; the others mirror them.
type Kernel = [f32; WINDOW / 2 + 1];

/// Means of a, b, a^2 + b^2 and ab over a row or a window of the Gaussian, for windows side by side.
type Moments = [[f32; BLOCK]; 4];

/// Sums over the `columns` x `rows` windows whose first is at `x`, `y`. Columns beyond a block's are computed from
/// zeros and do not count.
fn tile_sums(
    first: &Luma,
    second: &Luma,
    (x, y): (usize, usize),
    (columns, rows): (usize, usize),
    kernel: &Kernel,
) -> Means {
    // Rows that a window needs, each filtered along itself.
    let mut ring = [[[0.0; BLOCK]; 4]; WINDOW];
    let mut moments = [[0.0; BLOCK]; 4];
    let mut values = [[0.0; BLOCK + WINDOW - 1]; 4];
    let mut sums = Means::default();
    for index in 0..rows + WINDOW - 1 {
        let [a, b] = [first, second].map(|luma| &luma.row(y + index)[x..][..columns + WINDOW - 1]);
        filter_row(a, b, kernel, &mut values, &mut ring[index % WINDOW]);
        if index + 1 >= WINDOW {
            let window = |i: usize| &ring[(index + 1 + i) % WINDOW];
            filter_rows(window, kernel, &mut moments);
            sums.add(window_sums(&moments, columns));
        }
    }
    sums
}

/// The moments of two rows, filtered along them; `values` are those before.
fn filter_row(
    a: &[f32],
    b: &[f32],
    kernel: &Kernel,
    values: &mut [[f32; BLOCK + WINDOW - 1]; 4],
    moments: &mut Moments,
) {
    let [first, second, squares, products] = &mut *values;
    for (to, from) in [(&mut *first, a), (&mut *second, b)] {
        for (to, from) in to.iter_mut().zip(from) {
            *to = from - MIDDLE_GRAY;
        }
    }
    for (x, (a, b)) in first.iter().zip(second).enumerate() {
        squares[x] = *a * *a + *b * *b;
        products[x] = *a * *b;
    }
    for (filtered, values) in moments.iter_mut().zip(values) {
        let at = |i: usize| values[i..].first_chunk().expect("the window fits");
        filter(at, kernel, filtered);
    }
}

/// The moments of rows that were filtered along themselves, filtered across.
fn filter_rows<'a>(row: impl Fn(usize) -> &'a Moments, kernel: &Kernel, moments: &mut Moments) {
    for (index, filtered) in moments.iter_mut().enumerate() {
        filter(|i| &row(i)[index], kernel, filtered);
    }
}

/// Sums of what is at 0 to [`WINDOW`], weighted.
#[inline(always)]
fn filter<'a>(at: impl Fn(usize) -> &'a [f32; BLOCK], kernel: &Kernel, out: &mut [f32; BLOCK]) {
    const MIDDLE: usize = WINDOW / 2;
    const STEP: usize = 16; // sums that stay in registers
    let lines: [&[f32; BLOCK]; WINDOW] = std::array::from_fn(at);
    for (out, x) in out
        .as_chunks_mut::<STEP>()
        .0
        .iter_mut()
        .zip((0..).step_by(STEP))
    {
        let part = |i: usize| -> &[f32; STEP] {
            lines[i][x..].first_chunk().expect("a block is some steps")
        };
        let mut sums = *part(MIDDLE);
        sums.iter_mut().for_each(|sum| *sum *= kernel[MIDDLE]);
        for (i, weight) in kernel[..MIDDLE].iter().enumerate() {
            let (near, far) = (part(i), part(WINDOW - 1 - i));
            for (sum, (near, far)) in sums.iter_mut().zip(near.iter().zip(far)) {
                *sum += weight * (near + far);
            }
        }
        *out = sums;
    }
}

/// Both maps of a row of windows, summed.
fn window_sums([mean_a, mean_b, squares, products]: &Moments, columns: usize) -> Means {
    let (mut contrasts, mut similarities) = ([0.0; BLOCK], [0.0; BLOCK]);
    for x in 0..BLOCK {
        let (a, b) = (mean_a[x], mean_b[x]);
        let (ab, aa_bb) = (a * b, a * a + b * b);
        contrasts[x] = (2.0 * (products[x] - ab) + C2) / (squares[x] - aa_bb + C2);
        let (a, b) = (a + MIDDLE_GRAY, b + MIDDLE_GRAY);
        similarities[x] = contrasts[x] * (2.0 * (a * b) + C1) / (a * a + b * b + C1);
    }
    let sum = |values: [f32; BLOCK]| {
        values[..columns]
            .iter()
            .map(|&value| f64::from(value))
            .sum()
    };
    Means {
        ssim: sum(similarities),
        contrast: sum(contrasts),
    }
}

fn gaussian() -> Kernel {
    let weights: [f64; WINDOW / 2 + 1] = std::array::from_fn(|i| {
        let distance = i as f64 - (WINDOW / 2) as f64;
        (-distance * distance / (2.0 * SIGMA * SIGMA)).exp()
    });
    let [edges @ .., middle] = weights;
    let sum = 2.0 * edges.iter().sum::<f64>() + middle;
    weights.map(|weight| (weight / sum) as f32)
}
