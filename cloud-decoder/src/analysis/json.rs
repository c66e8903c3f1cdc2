//! Scene changes, as people see them.

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    drift::{BLOCK, Distance, LIMIT, NEEDED},
    watch::Model,
};
use crate::{alarm::Alarm, store::catalogue::LatentSample};

/// Fall of PSNR in dB from which the sentence mentions it.
const FALL_DB: f64 = 0.5;

/// The state of a camera's scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum State {
    /// Too few frames yet.
    Learning,
    /// As usual.
    Steady,
    /// Not as usual.
    Drifting,
}

/// A mean of the frames before and of the newest 16.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
struct Change {
    before: Option<f64>,
    now: Option<f64>,
}

/// The judgement of one camera.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct DriftJson {
    camera: String,
    state: State,
    /// Frames that were learned of the scene, while there are too few, and the fewest for a judgement.
    frames: usize,
    needed: usize,
    /// Distance of the newest 16 frames from the usual scene. 1 is usual.
    distance: Option<f64>,
    /// Distance from which on a scene has changed.
    limit: f64,
    psnr_db: Change,
    latent_ones: Change,
    /// 16 frames each, oldest first.
    windows: Vec<Distance>,
    /// The alarm that stands, if the scene has changed.
    alarm: Option<Alarm>,
    /// The judgement in words.
    sentence: String,
}

impl DriftJson {
    /// Frames whose quality is averaged.
    pub(crate) const FRAMES: u32 = 8 * BLOCK as u32;

    /// The judgement by the learned model, the newest frames and the ongoing alarm.
    pub(crate) fn new(
        camera: String,
        model: Option<&[u8]>,
        newest_first: &[LatentSample],
        alarm: Option<Alarm>,
    ) -> Self {
        let model = Model::read(model);
        let (frames, enough) = model.scenes.learned();
        let psnr_db = Change::of(newest_first, |s| s.psnr_db.filter(|db| db.is_finite()));
        let (state, sentence) = match (&alarm, enough) {
            (Some(alarm), _) => (
                State::Drifting,
                format!("{} {}", alarm.sentence, quality(psnr_db)),
            ),
            (None, true) => (State::Steady, format!("{camera} sees its usual scene.")),
            (None, false) => (
                State::Learning,
                format!(
                    "The usual scene of {camera} is being learned: {frames} of {NEEDED} frames."
                ),
            ),
        };
        let windows = model.scenes.distances().to_vec();
        Self {
            state,
            frames,
            needed: NEEDED,
            distance: windows.last().map(|last| last.distance),
            limit: LIMIT,
            psnr_db,
            latent_ones: Change::of(newest_first, |s| s.latent_ones),
            windows,
            alarm,
            sentence,
            camera,
        }
    }
}

impl Change {
    fn of(newest_first: &[LatentSample], value: fn(&LatentSample) -> Option<f64>) -> Self {
        let (now, before) = newest_first.split_at(BLOCK.min(newest_first.len()));
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

/// The effect of a change on the reconstructions, in a sentence.
fn quality(psnr_db: Change) -> String {
    match (psnr_db.before, psnr_db.now) {
        (Some(before), Some(now)) if before - now >= FALL_DB => {
            format!("Reconstructions became worse, from {before:.1} to {now:.1} dB.")
        }
        (Some(_), Some(_)) => "Reconstructions are as good as before so far.".to_owned(),
        _ => "No originals came along, so their quality is not known.".to_owned(),
    }
}
