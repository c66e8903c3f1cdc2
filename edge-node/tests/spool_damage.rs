//! Single bits and whole pages of the spool's file that are not what they were: the node starts all the same, delivers
//! nothing that was altered, and counts what is lost.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use edge_node::{
    config,
    metrics::{DropCause, Metrics},
    spool::{FrameState, Spool, SpoolError},
};
use patchwire_proto::v1::EncodedFrame;
use tokio::time::timeout;
use uuid::Uuid;

const FRAMES: usize = 120;
/// Damages of each test.
const ROUNDS: u64 = 150;
/// More than any start takes.
const BOUND: Duration = Duration::from_secs(60);

fn settings(dir: &Path) -> config::Spool {
    config::Spool {
        path: dir.join("spool.sqlite"),
        max_bytes: 4 << 20,
        ..config::Spool::default()
    }
}

fn frame(n: usize) -> EncodedFrame {
    let id = Uuid::now_v7();
    EncodedFrame {
        frame_id: bytes::Bytes::copy_from_slice(id.as_bytes()),
        captured_unix_ms: 1_700_000_000_000 + n as i64,
        latents: vec![n as u8; 60 + n * n % 9000].into(),
        ..EncodedFrame::default()
    }
}

fn id(frame: &EncodedFrame) -> Uuid {
    Uuid::from_slice(&frame.frame_id).expect("a UUID")
}

/// A spool's file as a busy node leaves it, and the frames in it.
async fn template(dir: &Path) -> (Vec<u8>, HashMap<Uuid, EncodedFrame>) {
    let settings = settings(dir);
    let spool = Spool::open(&settings, Metrics::new([]))
        .await
        .expect("open");
    let mut frames = HashMap::new();
    for n in 0..FRAMES + 20 {
        let frame = frame(n);
        spool.push(&frame).await.expect("pushed");
        let state = match n % 20 {
            // An early frame stays for long, as one does that does not fit the cloud.
            5 if n > 20 => FrameState::Delivered,
            11 => FrameState::Rejected {
                reason: "no".to_owned(),
            },
            _ => {
                frames.insert(id(&frame), frame);
                continue;
            }
        };
        spool
            .acknowledge(&[(id(&frame), state)])
            .await
            .expect("settled");
    }
    spool.close().await;
    drop(spool);
    (std::fs::read(&settings.path).expect("the file"), frames)
}

/// A generator of numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % most
    }
}

fn flip(bytes: &mut [u8], numbers: &mut Numbers, at: usize) -> String {
    let bit = numbers.below(8);
    bytes[at] ^= 1 << bit;
    format!(
        "bit {bit} of byte {at} (page {}, {} in it)",
        at / 4096 + 1,
        at % 4096
    )
}

/// Tells what is wrong with a start on a damaged file; `None` when nothing is.
async fn start(dir: PathBuf, sent: HashMap<Uuid, EncodedFrame>, checked: bool) -> Option<String> {
    let settings = settings(&dir);
    let metrics = Metrics::new([]);
    let mut there = HashMap::new();
    // Damage that is met while the node runs ends it; its next start sees to it.
    for _ in 0..3 {
        let opened = timeout(BOUND, Spool::open(&settings, metrics.clone())).await;
        let spool = match opened {
            Err(_) => return Some("it does not start in time".to_owned()),
            Ok(Err(error)) => return Some(format!("it does not start: {error}")),
            Ok(Ok(spool)) => spool,
        };
        there.clear();
        let mut seq = 0;
        let read = loop {
            match spool.next_after(seq).await {
                Ok(Some(entry)) if entry.seq <= seq => {
                    return Some("it reads in a circle".to_owned());
                }
                Ok(Some(entry)) => {
                    seq = entry.seq;
                    let id = id(&entry.frame);
                    if sent.get(&id) != Some(&entry.frame) {
                        return Some("an altered frame would be delivered".to_owned());
                    }
                    if there.insert(id, ()).is_some() {
                        return Some("a frame is there twice".to_owned());
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        match read {
            Ok(()) => {
                let pushed = frame(1);
                if let Err(error) = spool.push(&pushed).await {
                    if matches!(error, SpoolError::Damaged(_)) {
                        continue;
                    }
                    if checked || !matches!(error, SpoolError::Full) {
                        return Some(format!("it takes no frame: {error}"));
                    }
                }
                if !checked {
                    return None;
                }
                // Lost, or in quarantine.
                let told = metrics.dropped.get_or_create(&DropCause::Corrupt).get();
                let missing = (sent.len() - there.len()) as u64;
                return (told < missing).then(|| format!("{missing} are missing, {told} are told"));
            }
            Err(SpoolError::Damaged(_)) => {}
            Err(error) => return Some(format!("it cannot be read: {error}")),
        }
    }
    Some("it is damaged at each start".to_owned())
}

async fn rounds(marked: bool, count: u64) {
    let dir = tempfile::tempdir().expect("dir");
    let (bytes, sent) = template(dir.path()).await;
    let pages = bytes.len() / 4096;
    let mut wrong = Vec::new();
    for seed in 0..count {
        let mut numbers = Numbers(seed);
        numbers.below(2);
        let mut damaged = bytes.clone();
        let trees: Vec<_> = (1..pages)
            .filter(|page| [2, 5, 10, 13].contains(&bytes[page * 4096]))
            .collect();
        let tree = trees[numbers.below(trees.len())] * 4096;
        let what = match seed % 6 {
            0 => {
                let page = numbers.below(pages);
                let fill = numbers.below(256) as u8;
                damaged[page * 4096..(page + 1) * 4096].fill(fill);
                format!("page {} is {fill:#x}", page + 1)
            }
            1 => {
                let at = numbers.below(100);
                flip(&mut damaged, &mut numbers, at)
            }
            2 => {
                let at = numbers.below(4096);
                flip(&mut damaged, &mut numbers, at)
            }
            // The trees and their cells.
            3 => {
                let at = tree + numbers.below(160);
                flip(&mut damaged, &mut numbers, at)
            }
            4 => {
                let at = tree + numbers.below(4096);
                flip(&mut damaged, &mut numbers, at)
            }
            _ => {
                let at = numbers.below(bytes.len());
                flip(&mut damaged, &mut numbers, at)
            }
        };
        let dir = dir.path().join(seed.to_string());
        std::fs::create_dir(&dir).expect("folder");
        std::fs::write(dir.join("spool.sqlite"), damaged).expect("damaged");
        if marked {
            std::fs::write(dir.join("spool.sqlite.lock"), "in use\n").expect("marked");
        }
        let started = tokio::spawn(start(dir.clone(), sent.clone(), marked)).await;
        let problem = started.unwrap_or_else(|error| Some(format!("it panics: {error}")));
        wrong.extend(problem.map(|problem| format!("{seed}: {what}: {problem}")));
        std::fs::remove_dir_all(&dir).expect("removed");
    }
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[tokio::test]
async fn a_node_starts_on_a_damaged_file_and_alters_and_hides_nothing() {
    rounds(true, ROUNDS).await;
}

#[tokio::test]
async fn damage_that_is_met_by_and_by_alters_nothing_and_stops_no_later_start() {
    rounds(false, ROUNDS).await;
}

#[tokio::test]
async fn a_damaged_file_is_saved_where_its_numbers_are_far_off_and_its_bound_is_lower_now() {
    let dir = tempfile::tempdir().expect("dir");
    let (_, sent) = template(dir.path()).await;
    let mut settings = settings(dir.path());
    let url = format!("sqlite:{}", settings.path.display());
    let pool = sqlx::SqlitePool::connect(&url).await.expect("open");
    sqlx::query("UPDATE sqlite_sequence SET seq = 1 << 60 WHERE name = 'spool'")
        .execute(&pool)
        .await
        .expect("damaged");
    pool.close().await;
    let mut bytes = std::fs::read(&settings.path).expect("the file");
    let leaf = |page: &usize| bytes[page * 4096] == 13;
    let last = (1..bytes.len() / 4096).rfind(leaf).expect("a leaf");
    bytes[last * 4096..(last + 1) * 4096].fill(0);
    std::fs::write(&settings.path, bytes).expect("damaged");
    std::fs::write(dir.path().join("spool.sqlite.lock"), "in use\n").expect("marked");
    settings.max_bytes = 256 << 10;
    let metrics = Metrics::new([]);
    let opened = timeout(BOUND, Spool::open(&settings, metrics.clone())).await;
    let spool = opened.expect("it looks for rows for ever").expect("open");
    let told = metrics.dropped.get_or_create(&DropCause::Corrupt).get();
    let frames = spool.backlog().frames;
    assert!(frames > sent.len() as u64 / 2, "{frames} were saved");
    assert!(frames < sent.len() as u64, "nothing was damaged");
    assert!(frames + told >= sent.len() as u64, "{frames} and {told}");
}
