//! Drift: whether what a camera sees has moved away from what it saw before, by its latents alone.
//!
//! A frame is described by how often each bit of a patch is set over its patches. The newest [`WINDOW`] frames are
//! compared with the frames before them, by the square root of the mean Jensen-Shannon divergence of these shares, which
//! goes from 0 (alike) to 1. How far is far is told by the frames before: they are cut into windows too, and each is
//! compared with all of them. So a camera that looks at a street is allowed what a street does.

use serde::Serialize;
use utoipa::ToSchema;

use crate::catalogue::LatentSample;

/// Frames of a window.
pub(crate) const WINDOW: usize = 16;
/// Fewest windows before the newest.
const MIN_WINDOWS: usize = 2;
/// Most windows before the newest.
const MAX_WINDOWS: usize = 16;
/// Frames of a camera that are looked at.
pub(crate) const FRAMES: u32 = (WINDOW * (MAX_WINDOWS + 1)) as u32;
/// A distance that is never called drift: each bit moved by about six points of a hundred.
const FLOOR: f64 = 0.05;
/// How much farther than any window before the newest must be.
const MARGIN: f64 = 1.5;
/// A fall of PSNR in dB that is worth telling.
const FALL_DB: f64 = 0.5;

/// How often each bit of a patch is set over all patches, from 0 (never) to 255 (always).
pub(crate) fn shares(payload: &[u8], bits: u32) -> Vec<u8> {
    let patch = bits as usize / 8;
    let patches = payload.len().checked_div(patch).unwrap_or(0);
    let mut set = vec![0u64; bits as usize];
    for bytes in payload.chunks_exact(patch.max(1)) {
        for (byte, counts) in bytes.iter().zip(set.chunks_exact_mut(8)) {
            for (bit, count) in counts.iter_mut().enumerate() {
                *count += u64::from(byte >> bit & 1);
            }
        }
    }
    let share = |count: u64| (count as f64 / patches.max(1) as f64 * 255.0).round() as u8;
    set.into_iter().map(share).collect()
}

/// What is said of a camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// Too few frames yet.
    Learning,
    /// As before.
    Steady,
    /// Not as before.
    Drifting,
}

/// A mean of the frames before and of the newest ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Change {
    before: Option<f64>,
    now: Option<f64>,
}

/// One window's distance from all frames before the newest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Window {
    /// When its last frame was captured, milliseconds since the Unix epoch.
    captured_ms: i64,
    distance: f64,
}

/// The judgement of one camera.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Drift {
    camera: String,
    state: State,
    /// Frames of the newest program that were looked at, and the fewest for a judgement.
    frames: usize,
    needed: usize,
    /// Distance of the newest window, the mean of those before, and what is too far. 0 to 1.
    distance: Option<f64>,
    usual: Option<f64>,
    limit: Option<f64>,
    psnr_db: Change,
    latent_ones: Change,
    /// Oldest first, the newest last.
    windows: Vec<Window>,
    /// The judgement in words.
    sentence: String,
}

/// Judges a camera by its frames of one program, newest first.
pub(crate) fn judge(camera: &str, newest_first: &[LatentSample]) -> Drift {
    let windows = newest_first.len() / WINDOW;
    let needed = WINDOW * (MIN_WINDOWS + 1);
    let mut drift = Drift {
        camera: camera.to_owned(),
        state: State::Learning,
        frames: newest_first.len(),
        needed,
        distance: None,
        usual: None,
        limit: None,
        psnr_db: Change::of(newest_first, |s| s.psnr_db.filter(|db| db.is_finite())),
        latent_ones: Change::of(newest_first, |s| s.latent_ones),
        windows: Vec::new(),
        sentence: String::new(),
    };
    if windows <= MIN_WINDOWS {
        drift.sentence = format!(
            "{camera} is being learned: {} of the {needed} frames that a judgement takes.",
            newest_first.len()
        );
        return drift;
    }
    let used = &newest_first[..windows.min(MAX_WINDOWS + 1) * WINDOW];
    let reference = mean_shares(&used[WINDOW..]);
    drift.windows = used
        .chunks_exact(WINDOW)
        .map(|frames| Window {
            captured_ms: frames[0].captured_ms,
            distance: distance(&mean_shares(frames), &reference),
        })
        .rev()
        .collect();
    let (before, now) = drift.windows.split_at(drift.windows.len() - 1);
    let now = now[0].distance;
    let usual = before.iter().map(|w| w.distance).sum::<f64>() / before.len() as f64;
    let farthest = before.iter().map(|w| w.distance).fold(0.0, f64::max);
    let limit = (farthest * MARGIN).max(FLOOR);
    drift.state = if now > limit {
        State::Drifting
    } else {
        State::Steady
    };
    drift.sentence = sentence(camera, drift.state, now / limit, drift.psnr_db);
    (drift.distance, drift.usual, drift.limit) = (Some(now), Some(usual), Some(limit));
    drift
}

fn sentence(camera: &str, state: State, times: f64, psnr_db: Change) -> String {
    if state != State::Drifting {
        return format!("{camera} sees what it usually sees.");
    }
    let quality = match psnr_db {
        Change {
            before: Some(before),
            now: Some(now),
        } if before - now >= FALL_DB => {
            format!("Reconstructions became worse, from {before:.1} to {now:.1} dB.")
        }
        Change {
            before: Some(_),
            now: Some(_),
        } => "Reconstructions are as good as before so far.".to_owned(),
        _ => "No originals came along, so nobody knows what it does to quality.".to_owned(),
    };
    format!(
        "What {camera} sees has changed: its newest {WINDOW} frames are {times:.1} times as far from the earlier ones \
         as the scene's own changes explain. {quality} Look for new light, a moved or dirty camera, or lost focus."
    )
}

impl Change {
    fn of(newest_first: &[LatentSample], value: fn(&LatentSample) -> Option<f64>) -> Self {
        let (now, before) = newest_first.split_at(WINDOW.min(newest_first.len()));
        let mean = |frames: &[LatentSample]| {
            let values: Vec<f64> = frames.iter().filter_map(value).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        Self {
            before: mean(before),
            now: mean(now),
        }
    }
}

/// Mean share of each bit, 0 to 1. Where frames have fewer bits a patch, only those that all have count.
fn mean_shares(frames: &[LatentSample]) -> Vec<f64> {
    let bits = frames.iter().map(|f| f.shares.len()).min().unwrap_or(0);
    let mut sums = vec![0.0; bits];
    for frame in frames {
        for (sum, &share) in sums.iter_mut().zip(&frame.shares) {
            *sum += f64::from(share) / 255.0;
        }
    }
    let count = frames.len().max(1) as f64;
    sums.iter().map(|sum| sum / count).collect()
}

/// Square root of the mean Jensen-Shannon divergence of the bits, in bits.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    let count = a.len().min(b.len());
    if count == 0 {
        return 0.0;
    }
    let divergence =
        |(&p, &q): (&f64, &f64)| entropy((p + q) / 2.0) - (entropy(p) + entropy(q)) / 2.0;
    let sum: f64 = a.iter().zip(b).map(divergence).sum();
    (sum / count as f64).max(0.0).sqrt()
}

/// Entropy of a bit in bits.
fn entropy(p: f64) -> f64 {
    let part = |p: f64| if p > 0.0 { -p * p.log2() } else { 0.0 };
    part(p) + part(1.0 - p)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame whose bits are set so often, give or take what its number does.
    fn sample(n: usize, level: u8, psnr_db: f64) -> LatentSample {
        let wobble = (n * 7 % 5) as u8;
        LatentSample {
            captured_ms: n as i64,
            psnr_db: Some(psnr_db),
            latent_ones: Some(f64::from(level) / 255.0),
            shares: (0..64).map(|bit| level + wobble + bit).collect(),
        }
    }

    fn newest_first(samples: impl IntoIterator<Item = LatentSample>) -> Vec<LatentSample> {
        let mut samples: Vec<_> = samples.into_iter().collect();
        samples.reverse();
        samples
    }

    #[test]
    fn shares_count_each_bit_over_patches() {
        let shares = shares(&[0b0000_0001, 0xff, 0b0000_0011, 0x00], 16);
        assert_eq!(shares[..3], [255, 128, 0]);
        assert_eq!(shares[8..], [128; 8]);
    }

    #[test]
    fn few_frames_are_not_judged() {
        let few = newest_first((0..47).map(|n| sample(n, 100, 26.0)));
        let drift = judge("gate", &few);
        assert_eq!((drift.state, drift.distance), (State::Learning, None));
        assert!(
            drift.sentence.contains("47 of the 48"),
            "{}",
            drift.sentence
        );
        assert_eq!(judge("gate", &[]).state, State::Learning);
    }

    #[test]
    fn a_camera_that_goes_on_as_before_is_steady() {
        let steady = newest_first((0..200).map(|n| sample(n, 100, 26.0)));
        let drift = judge("gate", &steady);
        assert_eq!(drift.state, State::Steady, "{drift:?}");
        assert_eq!(drift.windows.len(), 12);
    }

    #[test]
    fn a_camera_that_sees_something_else_drifts_and_the_loss_is_told() {
        let moved = (0..100)
            .map(|n| sample(n, 100, 26.0))
            .chain((100..116).map(|n| sample(n, 160, 23.0)));
        let drift = judge("gate", &newest_first(moved));
        assert_eq!(drift.state, State::Drifting, "{drift:?}");
        assert!(
            drift.sentence.contains("from 26.0 to 23.0 dB"),
            "{}",
            drift.sentence
        );
    }

    #[test]
    fn what_a_scene_does_all_the_time_is_not_drift() {
        // Day and night, 16 frames each.
        let scene = (0..272).map(|n| sample(n, if n / 16 % 2 == 0 { 60 } else { 160 }, 26.0));
        let drift = judge("gate", &newest_first(scene));
        assert_eq!(drift.state, State::Steady, "{drift:?}");
    }

    #[test]
    fn frames_of_fewer_bits_are_compared_in_those() {
        let short = |n| {
            let mut sample = sample(n, 100, 26.0);
            sample.shares.truncate(16);
            sample
        };
        let mixed = (0..64)
            .map(|n| sample(n, 100, 26.0))
            .chain((64..80).map(short));
        assert_eq!(judge("gate", &newest_first(mixed)).state, State::Steady);
    }
}
