//! The spool against a model, with a crash at every write boundary of every operation.
//!
//! A process that dies leaves a prefix of what it wrote. SQLite writes to its log first, from some place on to the end,
//! and only once that is whole page by page to its file. So after each operation every such prefix is laid out as files
//! of their own and opened: it must hold what was there before the operation or what is there after it, and from some
//! prefix on what is there after it. The actions come from seeds that are written down here.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    path::Path,
};

use edge_node::{
    config::{self, OnFull},
    metrics::Metrics,
    spool::{FrameState, Spool, SpoolError},
};
use patchwire_proto::v1::EncodedFrame;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use uuid::Uuid;

const SEEDS: [u64; 2] = [1, 5];
const ACTIONS: usize = 16;
const LOG_HEADER: usize = 32;
const PAGE: usize = 4096;
const LOG_PAGE: usize = PAGE + 24;

/// The two files that survive a process.
#[derive(Clone)]
struct Files {
    main: Vec<u8>,
    log: Vec<u8>,
}

impl Files {
    fn read(dir: &Path) -> Self {
        let read = |name: &str| fs::read(dir.join(name)).unwrap_or_default();
        Self {
            main: read("spool.sqlite"),
            log: read("spool.sqlite-wal"),
        }
    }

    fn write(&self, dir: &Path) {
        fs::write(dir.join("spool.sqlite"), &self.main).expect("write");
        fs::write(dir.join("spool.sqlite-wal"), &self.log).expect("write");
    }

    /// What a crash on the way from `self` to `after` can leave, in the order of the writes. Each step of the log is
    /// there whole and torn in the middle.
    fn crashes(&self, after: &Self) -> Vec<Self> {
        let same = |(a, b): &(&u8, &u8)| a == b;
        let from = self.log.iter().zip(&after.log).take_while(same).count();
        let boundaries = (0..)
            .map(|page| LOG_HEADER + page * LOG_PAGE)
            .take_while(|&end| end <= after.log.len());
        let torn = boundaries.flat_map(|end| [end.saturating_sub(LOG_PAGE / 2), end]);
        let mut left = Vec::new();
        for cut in torn.filter(|&cut| cut >= from) {
            let mut log = self.log.clone();
            log.truncate(log.len().max(cut));
            log.resize(log.len().max(cut), 0);
            log[..cut].copy_from_slice(&after.log[..cut]);
            let main = self.main.clone();
            left.push(Self { main, log });
        }
        // A checkpoint writes pages of the file while the log stays; only then a spool that is closed removes it.
        let log = if after.log.is_empty() {
            &self.log
        } else {
            &after.log
        };
        let pages = after.main.len().div_ceil(PAGE);
        let page = |file: &[u8], n: usize| file.chunks(PAGE).nth(n).map(<[u8]>::to_vec);
        let mut main = self.main.clone();
        for n in 0..pages {
            let fresh = page(&after.main, n);
            if page(&main, n) == fresh {
                continue;
            }
            main.resize(main.len().max((n + 1) * PAGE), 0);
            main[n * PAGE..(n + 1) * PAGE].copy_from_slice(&fresh.expect("a page"));
            left.push(Self {
                main: main.clone(),
                log: log.clone(),
            });
        }
        left.push(after.clone());
        left
    }
}

type Content = (Vec<EncodedFrame>, BTreeMap<Uuid, FrameState>);

fn settings(dir: &Path, on_full: OnFull) -> config::Spool {
    config::Spool {
        path: dir.join("spool.sqlite"),
        max_bytes: 1 << 20,
        on_full,
        ..config::Spool::default()
    }
}

async fn open(settings: &config::Spool) -> Spool {
    let opened = Spool::open(settings, Metrics::new([])).await;
    opened.expect("open the spool")
}

/// The frames in order, and the states of those that were ever pushed.
async fn content(spool: &Spool, ever: &[Uuid]) -> Content {
    let (mut frames, mut seq) = (Vec::new(), 0);
    while let Some(entry) = spool.next_after(seq).await.expect("read") {
        seq = entry.seq;
        frames.push(entry.frame);
    }
    assert_eq!(spool.backlog().frames, frames.len() as u64);
    let mut states = BTreeMap::new();
    for &id in ever {
        if let Some(state) = spool.state(id).await.expect("state") {
            states.insert(id, state);
        }
    }
    (frames, states)
}

fn frame(rng: &mut StdRng, bytes: usize) -> EncodedFrame {
    let id = Uuid::now_v7();
    EncodedFrame {
        frame_id: bytes::Bytes::copy_from_slice(id.as_bytes()),
        latents: (0..bytes).map(|_| rng.random()).collect::<Vec<u8>>().into(),
        ..EncodedFrame::default()
    }
}

fn id(frame: &EncodedFrame) -> Uuid {
    Uuid::from_slice(&frame.frame_id).expect("a UUID")
}

#[tokio::test]
async fn a_crash_at_any_write_leaves_what_was_before_or_after() {
    for seed in SEEDS {
        for on_full in [OnFull::RejectNew, OnFull::DropOldest] {
            crashes(seed, on_full).await;
        }
    }
}

async fn crashes(seed: u64, on_full: OnFull) {
    let mut rng = StdRng::seed_from_u64(seed);
    let (dir, copy) = (
        tempfile::tempdir().expect("dir"),
        tempfile::tempdir().expect("dir"),
    );
    let mut spool = open(&settings(dir.path(), on_full)).await;
    let (mut model, mut ever) = (VecDeque::<EncodedFrame>::new(), Vec::new());
    for action in 0..ACTIONS {
        let before = (Files::read(dir.path()), content(&spool, &ever).await);
        match rng.random_range(0..8) {
            0..4 => {
                let large = rng.random_ratio(1, 4);
                let bytes = rng.random_range(0..if large { 200_000 } else { 4000 });
                let next = frame(&mut rng, bytes);
                ever.push(id(&next));
                match spool.push(&next).await {
                    Ok(()) => model.push_back(next),
                    Err(SpoolError::Full) if on_full == OnFull::RejectNew => {}
                    Err(error) => panic!("{error}"),
                }
                while on_full == OnFull::DropOldest && model.len() as u64 > spool.backlog().frames {
                    model.pop_front();
                }
            }
            4..7 if !model.is_empty() => {
                let mut settled = Vec::new();
                for _ in 0..rng.random_range(1..=3.min(model.len())) {
                    let gone = model.remove(rng.random_range(0..model.len()));
                    let state = match rng.random_range(0..3) {
                        0 => FrameState::Rejected {
                            reason: "no".into(),
                        },
                        _ => FrameState::Delivered,
                    };
                    settled.push((id(&gone.expect("in range")), state));
                }
                spool.acknowledge(&settled).await.expect("settle");
            }
            _ => {
                spool.close().await;
                drop(spool);
                spool = open(&settings(dir.path(), on_full)).await;
            }
        }
        let after = (Files::read(dir.path()), content(&spool, &ever).await);
        assert_eq!(
            after.1.0,
            Vec::from(model.clone()),
            "seed {seed}, action {action}"
        );

        let mut arrived = false;
        let crashes = before.0.crashes(&after.0);
        let last = crashes.len() - 1;
        for (place, files) in crashes.into_iter().enumerate() {
            files.write(copy.path());
            let reopened = open(&settings(copy.path(), on_full)).await;
            let found = content(&reopened, &ever).await;
            reopened.close().await;
            let at = format!("seed {seed}, action {action}, crash {place} of {last}");
            arrived |= found == after.1;
            assert!(
                arrived || found == before.1,
                "{at}: neither before nor after"
            );
            assert!(!arrived || found == after.1, "{at}: undone");
            assert!(place < last || arrived, "{at}: what was done is not there");
        }
    }
    spool.close().await;
}
