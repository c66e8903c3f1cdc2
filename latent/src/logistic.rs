//! Probabilities as logits, in integers: `STEPS` steps are one natural unit.

/// Steps of a logit in one natural unit.
pub(crate) const STEPS: i32 = 256;
/// Logits are within this on either side of 0.
pub(crate) const MOST: i32 = 2047;

/// 65,536 / (1 + exp(-x / 2)) for x from -16 to 16, rounded.
const KNOTS: [u32; 33] = [
    22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955, 17625, 24743, 32768,
    40793, 47911, 53581, 57724, 60565, 62428, 63615, 64357, 64816, 65097, 65269, 65374, 65438,
    65476, 65500, 65514,
];
/// Steps between two knots.
const SPAN: u32 = 128;

static PROBABILITIES: [u16; 4096] = probabilities();

const fn probabilities() -> [u16; 4096] {
    let mut all = [0; 4096];
    let mut at = 0;
    while at < 4096 {
        let (knot, part) = (at as u32 / SPAN, at as u32 % SPAN);
        let (from, to) = (KNOTS[knot as usize], KNOTS[knot as usize + 1]);
        all[at] = (from + ((to - from) * part + SPAN / 2) / SPAN) as u16;
        at += 1;
    }
    all
}

/// The probability of a logit, which is within [`MOST`] on either side of 0, in 65,536: the logistic function between
/// 33 knots.
#[inline(always)]
pub(crate) fn probability(logit: i32) -> u32 {
    PROBABILITIES[(logit + 2048) as usize & 4095].into()
}
