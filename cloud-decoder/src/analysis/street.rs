//! Scene changes on a real video: a fixed camera over a street, `tests/data/street.png`, which
//! `training/patchwire_training/recipes/scenes.py` made. The thresholds were chosen on its first 300 frames.

use std::io::Cursor;

use image::ImageReader;

use super::{
    drift::{BLOCK, Judgement, Scenes, Sight, View},
    scene::{BITS, COLUMNS, ROWS},
};
use crate::clock::DAY_MS;

/// Frames of the video.
const FRAMES: usize = 795;
/// Frames that a test learns from.
const LEARNED: usize = 300;
/// Changed frames of each kind, in the order of the rows after the video's.
const COUNT: usize = 48;
const CHANGES: [&str; 5] = ["black", "dark", "blurred", "mirrored", "shifted"];

/// All rows of the picture.
fn rows() -> Vec<Sight> {
    let file = include_bytes!("../../tests/data/street.png");
    let reader = ImageReader::new(Cursor::new(file)).with_guessed_format();
    let picture = reader
        .expect("a PNG")
        .decode()
        .expect("a picture")
        .into_luma8();
    let row = |(at, row): (usize, &[u8])| {
        let (grid, whole) = row.split_at(COLUMNS * ROWS * BITS);
        Sight {
            captured_ms: at as i64 * 100,
            view: View::default(),
            grid: grid.to_vec(),
            whole: whole.to_vec(),
        }
    };
    let rows: Vec<_> = picture
        .chunks_exact(picture.width() as usize)
        .enumerate()
        .map(row)
        .collect();
    assert_eq!(rows.len(), FRAMES + CHANGES.len() * COUNT);
    rows
}

/// The alarms of a camera that sends these frames after the first 300, as the frames at which they began and ended.
fn alarms(rows: &[Sight], then: impl Iterator<Item = Sight>) -> (Vec<usize>, Vec<usize>) {
    let (mut scenes, mut began, mut ended) = (Scenes::default(), Vec::new(), Vec::new());
    let frames: Vec<_> = rows[..LEARNED].iter().cloned().chain(then).collect();
    for (at, block) in frames.chunks_exact(BLOCK).enumerate() {
        let changed = matches!(scenes.see(block, DAY_MS), Judgement::Changed(_));
        let seen = ((at + 1) * BLOCK).saturating_sub(LEARNED);
        match (changed, began.len() > ended.len()) {
            (true, false) => began.push(seen),
            (false, true) => ended.push(seen),
            _ => {}
        }
    }
    (began, ended)
}

#[test]
fn usual_frames_raise_no_alarm() {
    let rows = rows();
    let later = rows[LEARNED..FRAMES].iter().cloned();
    assert_eq!(alarms(&rows, later), (vec![], vec![]));
}

#[test]
fn each_change_raises_one_alarm_within_32_frames_that_stands_for_500() {
    let rows = rows();
    for (at, change) in CHANGES.iter().enumerate() {
        let changed = &rows[FRAMES + at * COUNT..][..COUNT];
        let (began, ended) = alarms(&rows, changed.iter().cycle().take(500).cloned());
        assert_eq!(
            (began.len(), ended.len()),
            (1, 0),
            "{change}: {began:?} {ended:?}"
        );
        assert!(began[0] <= 32, "{change} is told after {} frames", began[0]);
    }
}

#[test]
fn the_alarm_ends_when_the_scene_is_back() {
    let rows = rows();
    for (at, change) in CHANGES.iter().enumerate() {
        let changed = rows[FRAMES + at * COUNT..][..COUNT]
            .iter()
            .cycle()
            .take(160);
        let back = rows[LEARNED..LEARNED + 64].iter();
        let (began, ended) = alarms(&rows, changed.chain(back).cloned());
        assert_eq!(
            (began.len(), ended.len()),
            (1, 1),
            "{change}: {began:?} {ended:?}"
        );
        assert!(
            ended[0] <= 160 + 32,
            "{change} is over after {} frames",
            ended[0]
        );
    }
}
