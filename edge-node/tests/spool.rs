//! The spool: full, expired, damaged, and against a model under random operations and restarts.

mod support;

use std::{collections::VecDeque, path::Path};

use edge_node::{
    config::{self, OnFull},
    metrics::Metrics,
    spool::{FrameState, HISTORY_ROWS, Spool, SpoolError},
};
use patchwire_proto::v1::EncodedFrame;
use proptest::prelude::*;
use sqlx::Connection as _;
use support::{answer, backlog, config, metric, noise, plain, post_one, post_raw, state};
use uuid::Uuid;

fn settings(dir: &Path) -> config::Spool {
    config::Spool {
        path: dir.join("spool.sqlite"),
        max_bytes: 2 << 20,
        ..config::Spool::default()
    }
}

async fn open(settings: &config::Spool) -> Spool {
    Spool::open(settings, Metrics::new([]))
        .await
        .expect("open the spool")
}

fn frame(bytes: usize) -> EncodedFrame {
    let id = Uuid::now_v7();
    EncodedFrame {
        frame_id: bytes::Bytes::copy_from_slice(id.as_bytes()),
        captured_unix_ms: 1_700_000_000_000,
        latents: vec![7; bytes].into(),
        ..EncodedFrame::default()
    }
}

fn id(frame: &EncodedFrame) -> Uuid {
    Uuid::from_slice(&frame.frame_id).expect("a UUID")
}

async fn contents(spool: &Spool) -> Vec<EncodedFrame> {
    let mut frames = Vec::new();
    let mut seq = 0;
    while let Some(entry) = spool.next_after(seq).await.expect("read") {
        seq = entry.seq;
        frames.push(entry.frame);
    }
    frames
}

#[tokio::test]
async fn a_spool_has_one_owner() {
    let dir = tempfile::tempdir().expect("dir");
    let settings = settings(dir.path());
    let first = open(&settings).await;
    let Err(refused) = Spool::open(&settings, Metrics::new([])).await else {
        panic!("two processes could share a spool");
    };
    assert!(refused.to_string().contains("in use"), "{refused}");
    drop(first);
    open(&settings).await;
}

#[tokio::test]
async fn a_full_spool_answers_503_and_keeps_what_it_has() {
    let dir = tempfile::tempdir().expect("dir");
    let addr = support::free_addr().await;
    let mut config = config(dir.path(), addr);
    config.spool.max_bytes = 2 << 20;
    config.originals_share = 1.0;
    let node = edge_node::start(config).await.expect("start");
    let first = post_one(&node).await;
    let big = |n: u8| post_raw(&node, "camera=c", 300, 300, noise(300, 300, n));
    let mut stored = 1;
    let refused = loop {
        let response = big(stored as u8).send().await.expect("an answer");
        if response.status() != 202 {
            break response;
        }
        stored += 1;
        assert!(stored < 100, "the cap does not hold");
    };
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let (_, body) = answer(refused).await;
    assert!(
        body["error"]
            .as_str()
            .is_some_and(|e| e.contains("spool is full")),
        "{body}"
    );
    assert_eq!(backlog(&node).await, stored);
    assert_eq!(state(&node, &first).await, "spooled");
    assert_eq!(support::get(&node, "/readyz").await.0, 200);
    node.shutdown().await;
    let size = std::fs::metadata(dir.path().join("spool.sqlite"))
        .expect("file")
        .len();
    assert!(size <= 2 << 20, "{size}");
}

#[tokio::test]
async fn a_spool_that_another_program_locks_answers_503_until_it_does_not() {
    let dir = tempfile::tempdir().expect("dir");
    let mut config = config(dir.path(), support::free_addr().await);
    config.http.max_concurrent = 4;
    let node = edge_node::start(config.clone()).await.expect("start");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&config.spool.path);
    let mut other = sqlx::SqliteConnection::connect_with(&options)
        .await
        .expect("it opens");
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .expect("a lock");
    let post = async || {
        let request = post_raw(&node, "camera=c", 32, 32, plain(32, 32, [200, 0, 0]));
        request.send().await.expect("an answer")
    };
    let refused = post().await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let (_, body) = support::answer(refused).await;
    let told = body["error"].as_str().expect("a sentence");
    assert!(told.contains("locked by another program"), "{told}");
    let series = "edge_node_frames_refused_total{reason=\"spool_busy\"}";
    assert_eq!(support::metric(&node, series).await, 1.0);
    sqlx::query("ROLLBACK")
        .execute(&mut other)
        .await
        .expect("released");
    assert_eq!(post().await.status(), 202);
    node.shutdown().await;
}

#[tokio::test]
async fn a_full_spool_may_drop_the_oldest_instead() {
    let dir = tempfile::tempdir().expect("dir");
    let addr = support::free_addr().await;
    let mut config = config(dir.path(), addr);
    config.spool.max_bytes = 1 << 20;
    config.spool.on_full = OnFull::DropOldest;
    config.originals_share = 1.0;
    let node = edge_node::start(config).await.expect("start");
    let first = post_one(&node).await;
    for n in 0..10u8 {
        let request = post_raw(&node, "camera=c", 200, 200, noise(200, 200, n));
        let (status, body) = answer(request.send().await.expect("an answer")).await;
        assert_eq!(status, 202, "{body}");
    }
    assert_eq!(state(&node, &first).await, "dropped");
    let dropped = metric(&node, "edge_node_spool_dropped_total{cause=\"full\"}").await;
    assert!(dropped >= 1.0);
    assert_eq!(dropped as u64 + backlog(&node).await, 11);
    node.shutdown().await;
}

#[tokio::test]
async fn a_frame_that_can_never_fit_is_refused() {
    let dir = tempfile::tempdir().expect("dir");
    let mut settings = settings(dir.path());
    settings.on_full = OnFull::DropOldest;
    let spool = open(&settings).await;
    let kept = frame(10);
    spool.push(&kept).await.expect("push");
    let refused = spool.push(&frame(2 << 20)).await.expect_err("too large");
    assert!(matches!(refused, SpoolError::TooLarge { .. }), "{refused}");
    assert_eq!(contents(&spool).await, [kept], "nothing was dropped for it");
}

#[tokio::test]
async fn settling_works_when_the_spool_is_full() {
    let dir = tempfile::tempdir().expect("dir");
    let spool = open(&settings(dir.path())).await;
    let mut frames = Vec::new();
    let refused = loop {
        let next = frame(1000);
        match spool.push(&next).await {
            Ok(()) => frames.push(next),
            Err(error) => break error,
        }
        assert!(frames.len() < 100_000, "the cap does not hold");
    };
    assert!(matches!(refused, SpoolError::Full), "{refused}");
    for frame in &frames {
        let state = FrameState::Rejected {
            reason: "x".repeat(2000),
        };
        spool
            .acknowledge(&[(id(frame), state)])
            .await
            .expect("settle");
    }
    assert_eq!(spool.backlog().frames, 0);
    spool.push(&frame(1000)).await.expect("there is room again");
}

#[tokio::test]
async fn expired_frames_are_dropped() {
    let dir = tempfile::tempdir().expect("dir");
    let mut settings = settings(dir.path());
    settings.ttl_s = Some(3600);
    let spool = open(&settings).await;
    let old = frame(10);
    let fresh = EncodedFrame {
        captured_unix_ms: i64::MAX / 2,
        ..frame(10)
    };
    spool.push(&old).await.expect("push");
    spool.push(&fresh).await.expect("push");
    spool.expire().await.expect("expire");
    assert_eq!(contents(&spool).await, [fresh]);
    let state = spool.state(id(&old)).await.expect("state");
    assert!(
        matches!(state, Some(FrameState::Dropped { .. })),
        "{state:?}"
    );
}

#[tokio::test]
async fn a_damaged_row_is_quarantined_and_the_rest_goes_on() {
    let dir = tempfile::tempdir().expect("dir");
    let settings = settings(dir.path());
    let spool = open(&settings).await;
    let frames = [frame(10), frame(20), frame(30)];
    for frame in &frames {
        spool.push(frame).await.expect("push");
    }
    let url = format!("sqlite:{}", settings.path.display());
    let pool = sqlx::SqlitePool::connect(&url).await.expect("open");
    sqlx::query("UPDATE spool SET payload = zeroblob(LENGTH(payload)) WHERE seq = 2")
        .execute(&pool)
        .await
        .expect("damage");
    assert_eq!(
        contents(&spool).await,
        [frames[0].clone(), frames[2].clone()]
    );
    assert_eq!(spool.backlog().frames, 2);
    let state = spool.state(id(&frames[1])).await.expect("state");
    assert!(
        matches!(state, Some(FrameState::Dropped { .. })),
        "{state:?}"
    );
}

/// Overwrites every `each`th page of a file, from its second on.
fn damage(path: &Path, each: usize) {
    let mut bytes = std::fs::read(path).expect("the file");
    for page in bytes.chunks_mut(4096).skip(1).step_by(each) {
        page.fill(0xa5);
    }
    std::fs::write(path, bytes).expect("damaged");
}

fn aside(dir: &Path) -> bool {
    let entries = std::fs::read_dir(dir).expect("folder");
    entries.into_iter().any(|entry| {
        let name = entry.expect("entry").file_name();
        name.to_string_lossy().contains("damaged")
    })
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_what_can_be_read_of_it_saved() {
    let dir = tempfile::tempdir().expect("dir");
    let settings = settings(dir.path());
    let spool = open(&settings).await;
    let mut sent = Vec::new();
    for n in 0..200 {
        let frame = frame(100 + n * 17 % 1500);
        spool.push(&frame).await.expect("pushed");
        sent.push(frame);
    }
    spool.close().await;
    drop(spool);
    damage(&settings.path, 9);
    // As after an end that was not clean.
    std::fs::write(dir.path().join("spool.sqlite.lock"), "in use\n").expect("marked");

    let spool = open(&settings).await;
    let saved = spool.salvage().expect("damage was found").clone();
    let there = contents(&spool).await;
    assert_eq!(there.len() as u64, saved.frames);
    assert_eq!(spool.backlog().frames, saved.frames);
    assert_eq!(saved.frames + saved.lost, 200, "{saved:?}");
    assert!(there.len() > 100, "only {} of 200 were saved", there.len());
    let mut expected = sent.iter();
    for frame in &there {
        assert!(
            expected.any(|sent| sent == frame),
            "the order is another one"
        );
    }
    assert!(aside(dir.path()), "the damaged file is gone");
    // It goes on as ever, and is whole at the next start.
    spool.push(&frame(10)).await.expect("pushed");
    drop(spool);
    let spool = open(&settings).await;
    assert_eq!(spool.salvage(), None);
    assert_eq!(contents(&spool).await.len(), there.len() + 1);
}

#[tokio::test]
async fn a_file_that_is_no_database_any_more_does_not_keep_a_node_from_starting() {
    let dir = tempfile::tempdir().expect("dir");
    let settings = settings(dir.path());
    let spool = open(&settings).await;
    spool.push(&frame(10)).await.expect("pushed");
    spool.close().await;
    drop(spool);
    std::fs::write(&settings.path, [0xa5; 8192]).expect("damaged");
    let spool = open(&settings).await;
    assert_eq!(spool.salvage().expect("damage was found").frames, 0);
    assert!(aside(dir.path()), "the damaged file is gone");
    spool.push(&frame(10)).await.expect("pushed");
    assert_eq!(contents(&spool).await.len(), 1);
}

#[tokio::test]
async fn damage_met_while_a_node_runs_ends_it_and_its_next_start_saves_what_is_left() {
    let dir = tempfile::tempdir().expect("dir");
    let config = config(dir.path(), support::free_addr().await);
    let node = edge_node::start(config.clone()).await.expect("start");
    for _ in 0..3 {
        post_one(&node).await;
    }
    node.shutdown().await;
    let node = edge_node::start(config.clone()).await.expect("start");
    assert_eq!(backlog(&node).await, 3);
    damage(&dir.path().join("spool.sqlite"), 1);
    // Until the damage is met, in whichever page it is.
    let met = async || {
        post_raw(&node, "camera=c", 64, 64, noise(64, 64, 1))
            .send()
            .await
            .ok();
        tokio::time::timeout(std::time::Duration::from_millis(1), node.ended())
            .await
            .ok()
    };
    let error =
        testing::eventually("the damage is met", std::time::Duration::from_secs(60), met).await;
    assert!(error.to_string().contains("damaged"), "{error}");
    assert_eq!(support::get(&node, "/readyz").await.0, 503);
    node.shutdown().await;
    let node = edge_node::start(config).await.expect("start");
    assert_eq!(support::get(&node, "/readyz").await.0, 200);
    assert!(aside(dir.path()), "the damaged file is gone");
    post_one(&node).await;
    node.shutdown().await;
}

#[tokio::test]
async fn the_history_is_bounded() {
    let dir = tempfile::tempdir().expect("dir");
    let settings = settings(dir.path());
    let spool = open(&settings).await;
    let first = Uuid::now_v7();
    spool
        .acknowledge(&[(first, FrameState::Delivered)])
        .await
        .expect("settle");
    let url = format!("sqlite:{}", settings.path.display());
    let pool = sqlx::SqlitePool::connect(&url).await.expect("open");
    sqlx::query(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) \
         INSERT INTO history (frame_id, state) SELECT randomblob(16), 'delivered' FROM n",
    )
    .bind(HISTORY_ROWS)
    .execute(&pool)
    .await
    .expect("fill");
    let last = Uuid::now_v7();
    spool
        .acknowledge(&[(last, FrameState::Delivered)])
        .await
        .expect("settle");
    assert_eq!(spool.state(first).await.expect("state"), None);
    assert_eq!(
        spool.state(last).await.expect("state"),
        Some(FrameState::Delivered)
    );
    let (rows,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM history")
        .fetch_one(&pool)
        .await
        .expect("count");
    assert_eq!(rows, HISTORY_ROWS);
}

#[derive(Clone, Debug)]
enum Action {
    Push(usize),
    /// Settles the frame at this place, modulo what is there.
    Settle(usize),
    Restart,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        4 => (0usize..60_000).prop_map(Action::Push),
        3 => any::<usize>().prop_map(Action::Settle),
        1 => Just(Action::Restart),
    ];
    prop::collection::vec(action, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_a_queue(actions in actions(), drop_oldest: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let dir = tempfile::tempdir().expect("dir");
            let mut settings = settings(dir.path());
            settings.max_bytes = 1 << 20;
            settings.on_full = if drop_oldest { OnFull::DropOldest } else { OnFull::RejectNew };
            let mut spool = open(&settings).await;
            let mut model = VecDeque::new();
            for action in actions {
                match action {
                    Action::Push(bytes) => {
                        let next = frame(bytes);
                        match spool.push(&next).await {
                            Ok(()) => model.push_back(next),
                            Err(SpoolError::Full) if !drop_oldest => {}
                            Err(error) => panic!("{error}"),
                        }
                        // Only the oldest may have gone, and only when told so.
                        while drop_oldest && model.len() as u64 > spool.backlog().frames {
                            model.pop_front();
                        }
                    }
                    Action::Settle(at) if !model.is_empty() => {
                        let gone = model.remove(at % model.len()).expect("in range");
                        spool.acknowledge(&[(id(&gone), FrameState::Delivered)]).await.expect("settle");
                    }
                    Action::Settle(_) => {}
                    Action::Restart => {
                        drop(spool);
                        spool = open(&settings).await;
                    }
                }
                assert_eq!(spool.backlog().frames, model.len() as u64);
            }
            assert_eq!(contents(&spool).await, Vec::from(model));
        });
    }
}
