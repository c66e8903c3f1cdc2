//! Planes that are stored one after the other, put together as libjpeg-turbo does it.

/// Samples of one component.
pub(super) struct Plane {
    samples: Vec<u8>,
    width: usize,
    height: usize,
}

impl Plane {
    pub(super) fn new(samples: Vec<u8>, width: usize, height: usize) -> Self {
        Self {
            samples,
            width,
            height,
        }
    }

    /// The plane at the picture's size. A factor of two is interpolated, with weights 3/4 for the nearer and 1/4 for
    /// the farther sample; for other factors samples are repeated.
    pub(super) fn stretched(self, across: u8, down: u8, width: usize, height: usize) -> Vec<u8> {
        if (across, down) == (1, 1) {
            return self.samples;
        }
        let (across, down) = (usize::from(across), usize::from(down));
        let smooth_across = across == 2 && self.width > 2 && down <= 2;
        let smooth_down = down == 2 && (across == 1 || smooth_across);
        let mut out = Vec::with_capacity(width * height);
        for y in 0..height {
            let upper = y.is_multiple_of(down);
            let row: Vec<u16> = match smooth_down {
                true => self.mixed(y / down, upper).collect(),
                false => self.row(y / down).collect(),
            };
            // Sums are rounded up and down alternately, so that the mean stays the same.
            let value = |x: usize| {
                let (at, first) = (x / across, x.is_multiple_of(across));
                match (smooth_down, smooth_across) {
                    (false, false) => row[at],
                    (true, false) => (row[at] + if upper { 1 } else { 2 }) / 4,
                    (false, true) => (beside(&row, at, first) + if first { 1 } else { 2 }) / 4,
                    (true, true) => (beside(&row, at, first) + if first { 8 } else { 7 }) / 16,
                }
            };
            out.extend((0..width).map(|x| value(x) as u8));
        }
        out
    }

    fn row(&self, at: usize) -> impl Iterator<Item = u16> {
        let row = &self.samples[at * self.width..][..self.width];
        row.iter().copied().map(u16::from)
    }

    /// Three times a row plus the row above or below it; at an edge, plus itself.
    fn mixed(&self, at: usize, above: bool) -> impl Iterator<Item = u16> {
        let far = match above {
            true => at.saturating_sub(1),
            false => (at + 1).min(self.height - 1),
        };
        let both = self.row(at).zip(self.row(far));
        both.map(|(near, far)| 3 * near + far)
    }
}

/// Three times a sample plus the one before or behind it; at an edge, plus itself.
fn beside(row: &[u16], at: usize, before: bool) -> u16 {
    let far = match before {
        true => at.saturating_sub(1),
        false => (at + 1).min(row.len() - 1),
    };
    3 * row[at] + row[far]
}

/// RGB pixels from three planes of one size.
pub(super) fn interleave(planes: &[Vec<u8>], rgb: bool) -> Vec<u8> {
    let [first, second, third] = planes else {
        return Vec::new();
    };
    let pixels = first.iter().zip(second).zip(third);
    let pixels = pixels.map(|((&a, &b), &c)| if rgb { [a, b, c] } else { colour(a, b, c) });
    pixels.flatten().collect()
}

/// The RGB pixel of a luma and two chroma samples (JFIF), computed with 16 fractional bits.
fn colour(luma: u8, blue: u8, red: u8) -> [u8; 3] {
    let (luma, blue, red) = (i32::from(luma), i32::from(blue) - 128, i32::from(red) - 128);
    let part = |sum: i32| (luma + ((sum + 0x8000) >> 16)).clamp(0, 255) as u8;
    [
        part(91_881 * red),
        part(-22_554 * blue - 46_802 * red),
        part(116_130 * blue),
    ]
}
