//! Planes that came one after the other, put together as libjpeg-turbo does.

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

    fn row(&self, at: usize) -> &[u8] {
        &self.samples[at * self.width..][..self.width]
    }

    /// The plane at the picture's size. By twice it is interpolated, three parts of the nearer sample to one of the other;
    /// otherwise samples are repeated.
    pub(super) fn stretched(self, across: u8, down: u8, width: usize, height: usize) -> Vec<u8> {
        if (across, down) == (1, 1) {
            return self.samples;
        }
        let (across, down) = (usize::from(across), usize::from(down));
        let smooth_across = across == 2 && self.width > 2 && down <= 2;
        let smooth_down = down == 2 && (across == 1 || smooth_across);
        let mut out = Vec::with_capacity(width * height);
        let mut row = Vec::with_capacity(self.width);
        for y in 0..height {
            let near = y / down;
            let above = y.is_multiple_of(down);
            let far = match above {
                true => near.saturating_sub(1),
                false => (near + 1).min(self.height - 1),
            };
            row.clear();
            let both = self.row(near).iter().zip(self.row(far));
            row.extend(both.map(|(&near, &far)| match smooth_down {
                true => 3 * u16::from(near) + u16::from(far),
                false => u16::from(near),
            }));
            let (parts, shift) = if smooth_down { (4, 2) } else { (1, 0) };
            let value = |x: usize| match smooth_across {
                true => {
                    let (at, left) = (x / 2, x.is_multiple_of(2));
                    let beside = match left {
                        true => at.checked_sub(1),
                        false => Some(at + 1),
                    };
                    let beside = beside.and_then(|at| row.get(at)).copied();
                    let sum = 3 * row[at] + beside.unwrap_or(row[at]);
                    // Rounded up and down in turn, so that the mean stays.
                    let round = match (smooth_down, left) {
                        (true, true) => 8,
                        (true, false) => 7,
                        (false, true) => 1,
                        (false, false) => 2,
                    };
                    ((sum + round) / (4 * parts)) as u8
                }
                false => {
                    let round = match (smooth_down, above) {
                        (false, _) => 0,
                        (true, true) => 1,
                        (true, false) => 2,
                    };
                    ((row[x / across] + round) >> shift) as u8
                }
            };
            out.extend((0..width).map(value));
        }
        out
    }
}

/// Red, green and blue of three planes of one size.
pub(super) fn interleave(planes: &[Vec<u8>], rgb: bool) -> Vec<u8> {
    let [first, second, third] = planes else {
        return Vec::new();
    };
    let pixels = first.iter().zip(second).zip(third);
    let pixels = pixels.map(|((&a, &b), &c)| if rgb { [a, b, c] } else { colour(a, b, c) });
    pixels.flatten().collect()
}

/// A pixel of luma and both chromas (JFIF), in 16 bits of fraction.
fn colour(luma: u8, blue: u8, red: u8) -> [u8; 3] {
    let (luma, blue, red) = (i32::from(luma), i32::from(blue) - 128, i32::from(red) - 128);
    let part = |sum: i32| (luma + ((sum + 0x8000) >> 16)).clamp(0, 255) as u8;
    [
        part(91_881 * red),
        part(-22_554 * blue - 46_802 * red),
        part(116_130 * blue),
    ]
}
