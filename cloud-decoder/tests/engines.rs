//! Catalogue, queue and objects, embedded and in PostgreSQL, NATS and S3: the same behaviour of both, and the behaviour
//! that only shared ones have.

mod suite;

use suite::Handles;

use std::path::Path;

use cloud_decoder::{
    frame::FrameState,
    store::{
        catalogue::Database,
        objects::{Kind, Objects},
        queue::{JetStreamQueue, Queue, RowQueue},
    },
};
use tempfile::TempDir;
use testing::engines::{Nats, Postgres, S3, installed};
use tokio_util::sync::CancellationToken;

async fn sqlite(folder: &TempDir) -> Handles {
    let file = format!("{}.sqlite", uuid::Uuid::now_v7());
    let opened = Database::sqlite(&folder.path().join(file)).await;
    opened.expect("catalogue").into()
}

async fn connect_all(servers: &[String]) -> async_nats::Client {
    async_nats::connect(servers).await.expect("NATS")
}

async fn connect(url: &str) -> Handles {
    let database = Database::postgres(url).await;
    database.expect("catalogue").into()
}

#[tokio::test]
async fn the_embedded_ones() {
    let folder = TempDir::new().expect("temporary folder");
    suite::catalogue::all(async || sqlite(&folder).await).await;
    suite::watchlist::all(async || sqlite(&folder).await).await;
    suite::queue::all(async || {
        let catalogue = sqlite(&folder).await;
        let queue = RowQueue::new(catalogue.database.clone());
        (catalogue, Box::new(queue) as _)
    })
    .await;
    let objects = Objects::local(folder.path()).expect("objects");
    suite::objects::all(&objects).await;
}

#[tokio::test]
async fn the_embedded_queue_gives_live_frames_before_a_backlog_and_forgets_none() {
    let folder = TempDir::new().expect("temporary folder");
    let catalogue = sqlite(&folder).await;
    let queue = RowQueue::new(catalogue.database.clone());
    let mut sent: Vec<_> = (0..6).map(|_| suite::frame("gate")).collect();
    for late in &mut sent[..3] {
        late.captured_ms -= 3_600_000;
    }
    let ids: Vec<_> = sent.iter().map(|frame| frame.id).collect();
    catalogue.rows.insert(sent).await.expect("inserted");
    let mut taken = Vec::new();
    for _ in 0..6 {
        let claim = queue.take(&CancellationToken::new()).await;
        let frame = claim.expect("taken").expect("a frame").frame;
        taken.push(ids.iter().position(|&id| id == frame.new.id));
    }
    // Three times the newest live frame, the fourth time the oldest of all.
    assert_eq!(taken, [5, 4, 3, 0, 1, 2].map(Some));
}

#[tokio::test]
async fn postgres_as_catalogue() {
    if !installed() {
        return;
    }
    let mut postgres = Postgres::start().await;
    let shared = postgres.database();
    suite::catalogue::all(async || connect(&postgres.database()).await).await;
    suite::watchlist::all(async || connect(&postgres.database()).await).await;

    // Processes that start at the same time make one schema, and one of them has the lease.
    let starting = (0..4).map(|_| connect(&shared));
    let mut started = futures::future::join_all(starting).await;
    let (one, other) = (started.remove(0), started.remove(0));
    let mut lead = one
        .database
        .lease()
        .await
        .expect("asked")
        .expect("the first one");
    assert!(other.database.lease().await.expect("asked").is_none());
    assert!(lead.stands().await);
    drop(lead);
    testing::eventually("the next one leads", suite::queue::LIMIT, async || {
        other.database.lease().await.expect("asked")
    })
    .await;

    // The same frames through several processes at once: each is kept once, and the sums are right.
    let frames: Vec<_> = (0..200)
        .map(|n| suite::frame(["gate", "dock", "roof"][n % 3]))
        .collect();
    let insert = async |catalogue: &Handles, turn: usize| {
        let mut new = 0;
        let mut frames = frames.clone();
        frames.rotate_left(turn * 50);
        for some in frames.chunks(20) {
            let rows = catalogue
                .rows
                .insert(some.to_vec())
                .await
                .expect("inserted");
            new += rows.iter().flatten().count();
        }
        new
    };
    let (a, b) = tokio::join!(insert(&one, 0), insert(&other, 1));
    assert_eq!(a + b, 200);
    let cameras = one.catalogue.cameras(500, 0).await.expect("cameras");
    assert_eq!(cameras.iter().map(|c| c.frames).sum::<u64>(), 200);
}

#[tokio::test]
async fn what_cannot_be_reached_is_named() {
    if !installed() {
        return;
    }
    let mut postgres = Postgres::start().await;
    let folder = TempDir::new().expect("temporary folder");
    // Nothing listens on port 1.
    let absent = "postgres://u:secret@127.0.0.1:1/d".to_owned();
    for (url, key) in [
        (absent, "catalogue.url"),
        (postgres.database(), "queue.url"),
    ] {
        let mut config = cloud_decoder::Config {
            data_dir: folder.path().to_owned(),
            ..cloud_decoder::Config::default()
        };
        config.http.listen.set_port(0);
        config.grpc.listen.set_port(0);
        config.catalogue.url = Some(url);
        config.queue.url = Some("nats://127.0.0.1:1".to_owned());
        config.objects.url = Some("s3://frames".to_owned());
        let Err(error) = cloud_decoder::start(config).await else {
            panic!("{key}: it starts");
        };
        let told = format!("{error:#}");
        let sentence = format!("{key} cannot be used: Connection refused (os error 111)");
        assert_eq!(told, sentence);
    }
}

/// A queue on a database of its own.
async fn open(postgres: &mut Postgres, nats: &Nats, max_frames: u64) -> (Handles, JetStreamQueue) {
    let catalogue = connect(&postgres.database()).await;
    let queue = open_on(&catalogue, nats, max_frames).await;
    (catalogue, queue)
}

async fn open_on(catalogue: &Handles, nats: &Nats, max_frames: u64) -> JetStreamQueue {
    let client = async_nats::connect(nats.url()).await.expect("NATS");
    let queue = JetStreamQueue::open(client, catalogue.database.clone(), max_frames).await;
    queue.expect("queue")
}

#[tokio::test]
async fn jetstream_as_queue() {
    if !installed() {
        return;
    }
    let mut postgres = Postgres::start().await;
    let mut nats = Nats::start().await;
    let purge = async |nats: &Nats| {
        let client = async_nats::connect(nats.url()).await.expect("NATS");
        let context = async_nats::jetstream::new(client);
        // There is none before the first one.
        context.delete_stream("PATCHWIRE_DECODE").await.ok();
    };
    suite::queue::all(async || {
        purge(&nats).await;
        let (catalogue, queue) = open(&mut postgres, &nats, 1000).await;
        (catalogue, Box::new(queue) as _)
    })
    .await;

    // Live frames come before the backlog of an edge node that was disconnected.
    purge(&nats).await;
    let (catalogue, queue) = open(&mut postgres, &nats, 10).await;
    let mut late = suite::frame("gate");
    late.captured_ms -= 3_600_000;
    let live = suite::frame("gate");
    let order = [live.id, late.id];
    let rows = catalogue
        .rows
        .insert(vec![late, live])
        .await
        .expect("inserted");
    let rows: Vec<_> = rows.into_iter().flatten().collect();
    queue.offer(&rows, false).await.expect("offered");
    let stop = CancellationToken::new();
    for id in order {
        let claim = queue.take(&stop).await.expect("taken").expect("a frame");
        assert_eq!(claim.frame.new.id, id);
        catalogue.rows.failed(id, "test").await.expect("written");
        queue.done(claim).await.expect("done");
    }

    // A full queue has no capacity until frames are taken.
    let frames: Vec<_> = (0..10).map(|_| suite::frame("gate")).collect();
    let rows = catalogue.rows.insert(frames).await.expect("inserted");
    let rows: Vec<_> = rows.into_iter().flatten().collect();
    queue.offer(&rows, false).await.expect("offered");
    let limit = suite::queue::LIMIT;
    testing::eventually("the queue is full", limit, async || {
        let wait = tokio::time::timeout(std::time::Duration::from_millis(10), queue.capacity());
        wait.await.is_err().then_some(())
    })
    .await;
    let claim = queue.take(&stop).await.expect("taken").expect("a frame");
    let id = claim.frame.new.id;
    catalogue.rows.failed(id, "test").await.expect("written");
    queue.done(claim).await.expect("done");
    let room = tokio::time::timeout(limit, queue.capacity()).await;
    room.expect("there is room again");

    // A server that lost its data: a running process makes the queue again, and offers the frames that wait by their
    // rows.
    assert!(queue.ready().is_ok());
    let wiped = async |nats: &mut Nats| {
        nats.kill();
        nats.wipe();
        nats.restart().await;
    };
    wiped(&mut nats).await;
    let refilled = async || queue.recover().await.ok().filter(|&offered| offered > 0);
    let offered = testing::eventually("the queue is made again and filled", limit, refilled);
    assert_eq!(offered.await, 9);
    assert_eq!(queue.recover().await.expect("compared"), 0);

    // A process that starts after that offers frames that are old enough.
    wiped(&mut nats).await;
    let queue = open_on(&catalogue, &nats, 1000).await;
    assert_eq!(queue.recover().await.expect("compared"), 0);
    let age = "UPDATE frames SET offered_ms = offered_ms - 600000";
    postgres.run(age);
    assert_eq!(queue.recover().await.expect("compared"), 9);
    for _ in 0..9 {
        let claim = queue.take(&stop).await.expect("taken").expect("a frame");
        assert_eq!(claim.frame.state, FrameState::Queued);
        let id = claim.frame.new.id;
        catalogue.rows.failed(id, "test").await.expect("written");
        queue.done(claim).await.expect("done");
    }
    assert_eq!(catalogue.catalogue.queued().await.expect("count"), 0);
}

/// The state that a dying server may leave: the consumers know of acknowledgements that the stream does not.
#[tokio::test]
async fn a_message_that_is_given_to_nobody_hides_no_frame() {
    if !installed() {
        return;
    }
    let mut postgres = Postgres::start().await;
    let mut nats = Nats::start().await;
    let (catalogue, queue) = open(&mut postgres, &nats, 1000).await;
    let frames: Vec<_> = (0..3).map(|_| suite::frame("gate")).collect();
    let rows = catalogue.rows.insert(frames).await.expect("inserted");
    let rows: Vec<_> = rows.into_iter().flatten().collect();
    queue.offer(&rows, false).await.expect("offered");
    nats.stop();
    let (messages, kept) = (nats.messages("PATCHWIRE_DECODE"), tempfile::tempdir());
    let kept = kept.expect("a folder");
    copy(&messages, kept.path());
    nats.restart().await;
    let stop = CancellationToken::new();
    let queue = open_on(&catalogue, &nats, 1000).await;
    for _ in 0..3 {
        let claim = queue.take(&stop).await.expect("taken").expect("a frame");
        queue.done(claim).await.expect("done");
    }
    none_is_left(&nats).await;
    nats.stop();
    std::fs::remove_dir_all(&messages).expect("messages");
    copy(kept.path(), &messages);
    nats.restart().await;

    let queue = open_on(&catalogue, &nats, 1000).await;
    assert!(queue.take(&stop).await.expect("asked").is_none());
    // A minute ago but for a second, when the messages were not there yet.
    postgres.run("UPDATE frames SET offered_ms = offered_ms - 59000");
    testing::eventually("they are offered again", suite::queue::LIMIT, async || {
        let offered = queue.recover().await.expect("compared");
        (offered == 3).then_some(())
    })
    .await;
    for _ in 0..3 {
        let claim = queue.take(&stop).await.expect("taken").expect("a frame");
        catalogue
            .rows
            .failed(claim.frame.new.id, "test")
            .await
            .expect("written");
        queue.done(claim).await.expect("done");
    }
    none_is_left(&nats).await;
}

/// Waits until NATS has received all acknowledgements.
async fn none_is_left(nats: &Nats) {
    let client = async_nats::connect(nats.url()).await.expect("NATS");
    let context = async_nats::jetstream::new(client);
    testing::eventually("no message is left", suite::queue::LIMIT, async || {
        let stream = context.get_stream("PATCHWIRE_DECODE").await.ok()?;
        (stream.cached_info().state.messages == 0).then_some(())
    })
    .await;
}

/// Copies the files of a folder.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for file in std::fs::read_dir(from).expect("a folder") {
        let file = file.expect("a file");
        if file.file_type().expect("a type").is_file() {
            std::fs::copy(file.path(), to.join(file.file_name())).expect("a copy");
        }
    }
}

#[tokio::test]
async fn a_cluster_keeps_three_copies() {
    if !installed() {
        return;
    }
    let mut postgres = Postgres::start().await;
    let catalogue = connect(&postgres.database()).await;
    let mut cluster = Nats::cluster(3).await;
    let urls: Vec<_> = cluster.iter().map(Nats::url).collect();
    // Several processes start with the cluster, whose servers have not agreed on a leader yet.
    let client = connect_all(&urls).await;
    let opening = (0..4).map(|_| async {
        let client = connect_all(&urls).await;
        JetStreamQueue::open(client, catalogue.database.clone(), 1000).await
    });
    let mut queues = futures::future::try_join_all(opening).await;
    let queue = queues.as_mut().expect("queues").remove(0);
    let context = async_nats::jetstream::new(client.clone());
    let stream = context.get_stream("PATCHWIRE_DECODE").await;
    let stream = stream.expect("the stream");
    assert_eq!(stream.cached_info().config.num_replicas, 3);

    let rows = catalogue.rows.insert(vec![suite::frame("gate")]).await;
    let rows: Vec<_> = rows.expect("inserted").into_iter().flatten().collect();
    queue.offer(&rows, false).await.expect("offered");
    cluster[0].kill();
    let stop = CancellationToken::new();
    let claim = testing::eventually("the others go on", suite::queue::LIMIT, async || {
        queue.take(&stop).await.ok().flatten()
    })
    .await;
    assert_eq!(claim.frame.new.id, rows[0].new.id);

    // One server of three cannot elect a leader, which the error says in the end.
    cluster[1].kill();
    let url = cluster[2].url();
    let client = async_nats::connect(url).await.expect("NATS");
    let opened = JetStreamQueue::open(client, catalogue.database, 1000).await;
    let told = opened.err().expect("there is no JetStream").to_string();
    let sentence = "decode queue: JetStream was not ready within 30 seconds: making the stream: ";
    assert!(told.starts_with(sentence), "{told}");
}

#[tokio::test]
async fn s3_as_objects() {
    if !installed() {
        return;
    }
    let mut s3 = S3::start().await;
    let url = s3.bucket().await;
    let variables = S3::variables();
    let mut variables: Vec<_> = variables
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let endpoint = Some(s3.endpoint.as_str());
    let objects = Objects::s3(&url, endpoint, variables.clone()).expect("objects");
    suite::objects::all(&objects).await;

    variables.push(("AWS_SERVER_SIDE_ENCRYPTION".to_owned(), "AES256".to_owned()));
    let objects = Objects::s3(&url, endpoint, variables.clone()).expect("objects");
    let id = uuid::Uuid::now_v7();
    let put = objects.put(Kind::Latents, id, "x".into()).await;
    put.expect("put");
    assert_eq!(
        s3.encryption(&id.to_string()).await.as_deref(),
        Some("AES256")
    );

    let absent = Objects::s3("s3://absent/frames", endpoint, variables).expect("objects");
    let error = absent.try_out().await.expect_err("there is no such bucket");
    assert!(error.to_string().contains("NoSuchBucket"), "{error}");
}
