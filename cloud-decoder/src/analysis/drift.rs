//! Scene changes: whether a camera still sees its usual scene, judged by its latents alone.
//!
//! Frames are judged in blocks of [`BLOCK`]. A block is the mean of its frames' [`Shares`](super::scene::Shares). The
//! usual scene is the median of earlier blocks, spread over a long time, and their median absolute deviation. The
//! distance of a block is the root mean square of its deviations from the median in units of that spread, once over the
//! grid and once over the whole frame; the larger counts. 1 is usual. A block farther than [`LIMIT`] is a change: from
//! then on nothing is learned until a block is within [`BACK`] again, or until somebody accepts the new scene, which is
//! then usual as well.
//!
//! `LIMIT` and the floors were chosen on the first 300 frames of a fixed street camera, which reach 0.9, and on the
//! same frames covered, darkened, blurred, mirrored and shifted, none of which stays below 2.2.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store::catalogue::Sighting;

/// Frames of a block.
pub(crate) const BLOCK: usize = 16;
/// Blocks that make a usual scene.
const LEARNED: usize = 3;
/// Frames before the first judgement.
pub(crate) const NEEDED: usize = BLOCK * LEARNED;
/// Blocks that are kept per scene.
const REMEMBERED: usize = 32;
/// Scenes that are usual, for example by day and by night.
const SCENES: usize = 4;
/// Distances that are kept for display.
const SHOWN: usize = 48;
/// Distance from which on a scene has changed, and below which it is back.
pub(crate) const LIMIT: f64 = 1.75;
const BACK: f64 = 1.4;
/// Smallest spread of a share (a share is 0 to 1). Shares are coarse in cells with few patches.
const CELL_FLOOR: f64 = 0.06;
const WHOLE_FLOOR: f64 = 0.02;
/// The median absolute deviation of a normal distribution is its standard deviation over this.
const NORMAL: f64 = 1.4826;
/// Limit of one share's deviation, in spreads.
const CLIP: f64 = 4.0;

/// The parts of a frame that describe its scene.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sight {
    /// When the frame was captured, milliseconds since the Unix epoch.
    pub(crate) captured_ms: i64,
    /// The program and the size. Frames of another program or size cannot be compared.
    pub(crate) view: View,
    /// Shares in the grid, then over the whole frame; see [`Shares`](super::scene::Shares).
    pub(crate) grid: Vec<u8>,
    /// Over the whole frame.
    pub(crate) whole: Vec<u8>,
}

impl Sight {
    /// `None` for a frame without latents, or from before grids were kept.
    pub(crate) fn of(frame: &Sighting) -> Option<Self> {
        let side = |length: i64| u32::try_from(length).unwrap_or_default();
        Some(Self {
            captured_ms: frame.captured_ms,
            view: View {
                program: frame.program_id.clone()?,
                size: (side(frame.width), side(frame.height)),
            },
            grid: frame.scene_grid.clone()?,
            whole: frame.latent_shares.clone()?,
        })
    }
}

/// Frames of one view can be compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct View {
    /// The program that made the latents.
    pub(crate) program: Vec<u8>,
    /// Width and height in pixels.
    pub(crate) size: (u32, u32),
}

/// The mean of a block's frames.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Block {
    captured_ms: i64,
    grid: Vec<u8>,
    whole: Vec<u8>,
}

/// The distance of a block from the usual scene.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Distance {
    /// When its last frame was captured, milliseconds since the Unix epoch.
    pub(crate) captured_ms: i64,
    /// 1 is the usual spread; [`LIMIT`] and more is a change.
    pub(crate) distance: f64,
}

/// The judgement of a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Judgement {
    /// There is no usual scene yet.
    Learning,
    /// The scene is usual.
    Steady(f64),
    /// The scene is not usual.
    Changed(f64),
}

/// The usual scenes of a camera, and the new scene if there is one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scenes {
    view: View,
    /// Once a block was seen, at least one; the last is the one that was seen last.
    usual: Vec<Vec<Block>>,
    /// Since the scene has changed.
    changed: Option<Vec<Block>>,
    distances: Vec<Distance>,
}

impl Scenes {
    /// Judges the next [`BLOCK`] frames of one view, oldest first, and learns from them. Blocks older than `memory_ms`
    /// are forgotten.
    pub(crate) fn see(&mut self, frames: &[Sight], memory_ms: i64) -> Judgement {
        let Some(block) = Block::of(frames) else {
            return Judgement::Learning;
        };
        if self.view != frames[0].view {
            *self = Self {
                view: frames[0].view.clone(),
                ..Self::default()
            };
        }
        let nearest = (self.usual.iter().enumerate())
            .filter(|(_, scene)| scene.len() >= LEARNED)
            .map(|(at, scene)| (block.distance(scene), at))
            .min_by(|a, b| a.0.total_cmp(&b.0));
        let Some((distance, at)) = nearest else {
            return self.learn(block, memory_ms);
        };
        self.distances.push(Distance {
            captured_ms: block.captured_ms,
            distance,
        });
        let surplus = self.distances.len().saturating_sub(SHOWN);
        self.distances.drain(..surplus);
        let limit = match self.changed {
            Some(_) => BACK,
            None => LIMIT,
        };
        if distance <= limit {
            self.changed = None;
            let mut scene = self.usual.remove(at);
            remember(&mut scene, block, memory_ms);
            self.usual.push(scene);
            return Judgement::Steady(distance);
        }
        let young = self.usual.last().is_some_and(|last| last.len() < LEARNED);
        if young && self.changed.is_none() {
            return self.learn(block, memory_ms);
        }
        remember(self.changed.get_or_insert_default(), block, memory_ms);
        Judgement::Changed(distance)
    }

    fn learn(&mut self, block: Block, memory_ms: i64) -> Judgement {
        if self.usual.is_empty() {
            self.usual.push(Vec::new());
        }
        let scene = self.usual.last_mut().expect("pushed above");
        remember(scene, block, memory_ms);
        Judgement::Learning
    }

    /// Makes the new scene a usual one.
    pub(crate) fn acknowledge(&mut self) {
        if let Some(scene) = self.changed.take() {
            self.usual.push(scene);
            let surplus = self.usual.len().saturating_sub(SCENES);
            self.usual.drain(..surplus);
        }
    }

    /// Frames learned of the current scene, and whether they are enough.
    pub(crate) fn learned(&self) -> (usize, bool) {
        let blocks = self.usual.last().map_or(0, Vec::len);
        (blocks * BLOCK, blocks >= LEARNED)
    }

    /// Distances of the newest blocks, oldest first.
    pub(crate) fn distances(&self) -> &[Distance] {
        &self.distances
    }
}

impl Block {
    /// `None` without frames.
    fn of(frames: &[Sight]) -> Option<Self> {
        let mean = |shares: fn(&Sight) -> &[u8]| {
            let length = frames.iter().map(|f| shares(f).len()).min().unwrap_or(0);
            let sum = |at: usize| frames.iter().map(|f| u32::from(shares(f)[at])).sum::<u32>();
            let count = frames.len() as u32;
            (0..length)
                .map(|at| ((sum(at) + count / 2) / count) as u8)
                .collect()
        };
        Some(Self {
            captured_ms: frames.last()?.captured_ms,
            grid: mean(|f| &f.grid),
            whole: mean(|f| &f.whole),
        })
    }

    fn distance(&self, scene: &[Self]) -> f64 {
        let grid = distance(&self.grid, scene, |block| &block.grid, CELL_FLOOR);
        let whole = distance(&self.whole, scene, |block| &block.whole, WHOLE_FLOOR);
        grid.max(whole)
    }
}

/// Root mean square of the deviations from the median, in spreads, over the shares that all blocks have.
fn distance(block: &[u8], scene: &[Block], shares: fn(&Block) -> &[u8], floor: f64) -> f64 {
    let length = scene.iter().map(|b| shares(b).len()).min().unwrap_or(0);
    let length = length.min(block.len());
    if length == 0 {
        return 0.0;
    }
    let square = |at: usize| {
        let mut values: Vec<f64> = scene
            .iter()
            .map(|b| f64::from(shares(b)[at]) / 255.0)
            .collect();
        let usual = median(&mut values);
        for value in &mut values {
            *value = (*value - usual).abs();
        }
        let spread = floor + NORMAL * median(&mut values);
        let deviation = (f64::from(block[at]) / 255.0 - usual).abs() / spread;
        deviation.min(CLIP).powi(2)
    };
    ((0..length).map(square).sum::<f64>() / length as f64).sqrt()
}

/// Of at least one value.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

/// Adds a block. If there are too many, removes the one whose neighbours are nearest in time, so that the others cover
/// the time evenly.
fn remember(scene: &mut Vec<Block>, block: Block, memory_ms: i64) {
    let oldest = block.captured_ms.saturating_sub(memory_ms);
    let expired = scene.iter().take_while(|b| b.captured_ms < oldest).count();
    scene.drain(..expired.min(scene.len().saturating_sub(LEARNED - 1)));
    scene.push(block);
    if scene.len() > REMEMBERED {
        let gap = |at: usize| {
            scene[at + 1]
                .captured_ms
                .saturating_sub(scene[at - 1].captured_ms)
        };
        // Among equal gaps, the newest block is removed: the first blocks reach back farthest.
        let least = (1..scene.len() - 1).min_by_key(|&at| (gap(at), Reverse(at)));
        scene.remove(least.expect("more than two blocks"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 24 * 3_600_000;

    /// A block of frames whose shares are about `level`.
    fn block(at: i64, level: u8) -> Vec<Sight> {
        let frame = |n: i64| Sight {
            captured_ms: (at * BLOCK as i64 + n) * 1000,
            view: View::default(),
            grid: (0..64).map(|bit| level + bit + (n * 7 % 5) as u8).collect(),
            whole: vec![level; 256],
        };
        (0..BLOCK as i64).map(frame).collect()
    }

    fn steady(blocks: i64) -> Scenes {
        let mut scenes = Scenes::default();
        for at in 0..blocks {
            let judgement = scenes.see(&block(at, 100), DAY_MS);
            assert!(!matches!(judgement, Judgement::Changed(_)), "block {at}");
        }
        scenes
    }

    #[test]
    fn three_blocks_are_learned_before_one_is_judged() {
        let mut scenes = Scenes::default();
        for at in 0..3 {
            assert_eq!(scenes.see(&block(at, 100), DAY_MS), Judgement::Learning);
        }
        assert!(matches!(scenes.see(&block(3, 100), DAY_MS), Judgement::Steady(d) if d < 0.1));
        assert_eq!(scenes.see(&[], DAY_MS), Judgement::Learning);
    }

    #[test]
    fn a_change_stays_until_the_scene_is_back() {
        let mut scenes = steady(10);
        for at in 10..60 {
            let judgement = scenes.see(&block(at, 160), DAY_MS);
            assert!(
                matches!(judgement, Judgement::Changed(_)),
                "block {at}: {judgement:?}"
            );
        }
        assert!(matches!(
            scenes.see(&block(60, 100), DAY_MS),
            Judgement::Steady(_)
        ));
        assert!(matches!(
            scenes.see(&block(61, 160), DAY_MS),
            Judgement::Changed(_)
        ));
    }

    #[test]
    fn an_acknowledged_scene_is_usual_beside_the_one_before() {
        let mut scenes = steady(10);
        for at in 10..14 {
            scenes.see(&block(at, 160), DAY_MS);
        }
        scenes.acknowledge();
        for (at, level) in [(14, 160), (15, 100), (16, 160), (17, 100)] {
            let judgement = scenes.see(&block(at, level), DAY_MS);
            assert!(
                matches!(judgement, Judgement::Steady(_)),
                "{level}: {judgement:?}"
            );
        }
        assert!(matches!(
            scenes.see(&block(18, 30), DAY_MS),
            Judgement::Changed(_)
        ));
    }

    #[test]
    fn memory_is_bounded_and_covers_the_time() {
        let scenes = steady(1000);
        let kept = &scenes.usual[0];
        assert_eq!(kept.len(), REMEMBERED);
        let widest = kept.windows(2).map(|w| w[1].captured_ms - w[0].captured_ms);
        let all = kept[REMEMBERED - 1].captured_ms - kept[0].captured_ms;
        assert!(all >= 900 * 16_000, "it reaches back {all} ms");
        assert!(widest.max().expect("gaps") < all / 4);

        let mut scenes = scenes;
        scenes.see(&block(1_000_000, 100), DAY_MS);
        assert_eq!(scenes.usual[0].len(), LEARNED, "older blocks are forgotten");
    }

    #[test]
    fn another_view_is_learned_anew() {
        let mut scenes = steady(10);
        let mut frames = block(10, 160);
        for frame in &mut frames {
            frame.view.size = (640, 480);
        }
        assert_eq!(scenes.see(&frames, DAY_MS), Judgement::Learning);
        assert_eq!(scenes.learned(), (BLOCK, false));
    }
}
