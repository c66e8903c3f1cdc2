//! Stream and consumers of the decode queue. The first process that starts makes them, and waits for a cluster that is
//! still electing its leader.

use std::time::Duration;

use async_nats::jetstream::{
    self, Context, ErrorCode,
    consumer::{AckPolicy, PullConsumer, pull},
    context::{CreateStreamError, CreateStreamErrorKind, GetStreamError, GetStreamErrorKind},
    stream::{
        Config, ConsumerError, ConsumerErrorKind, DiscardPolicy, RetentionPolicy, StorageType,
        Stream,
    },
};
use tokio::time::{Instant, sleep, timeout};

use super::contract::{QueueError, failed};

const STREAM: &str = "PATCHWIRE_DECODE";
const SUBJECTS: &str = "patchwire.decode.*";
pub(super) const LIVE: &str = "patchwire.decode.live";
pub(super) const BACKLOG: &str = "patchwire.decode.backlog";
/// A worker that is silent for this long counts as dead.
const ACK_WAIT: Duration = Duration::from_secs(15);
/// Copies of the stream where the cluster has as many servers.
const REPLICAS: usize = 3;
/// Most frames of one consumer that workers may hold, including those whose retry is not due.
const MAX_HELD: i64 = 10_000;
/// Longest time for making stream and consumers, not counting the last try.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time for all requests of one try.
const TRY: Duration = Duration::from_secs(10);
/// Pause before the second try, doubled for each further one up to the longest.
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// A stream and its two consumers.
pub(super) struct Opened {
    pub(super) stream: Stream<()>,
    pub(super) live: PullConsumer,
    pub(super) backlog: PullConsumer,
}

/// Makes sure that stream and consumers exist. Repeats tries that may succeed later, for [`TIMEOUT`].
pub(super) async fn open(context: &Context, max_frames: u64) -> Result<Opened, QueueError> {
    let begun = Instant::now();
    let mut pause = PAUSE;
    loop {
        let last = begun.elapsed() + pause >= TIMEOUT;
        let made = timeout(TRY, make(context, max_frames, last)).await;
        match made.unwrap_or_else(|late| Err(failed("opening the queue")(late))) {
            Err(QueueError::JetStream { what, error }) if may_pass(&error) => {
                if last {
                    return Err(QueueError::NotReady {
                        seconds: TIMEOUT.as_secs(),
                        what,
                        error,
                    });
                }
                tracing::warn!(what, %error, "JetStream is not ready yet, trying again");
            }
            made => return made,
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Makes sure that stream and consumers exist, in one try.
pub(super) async fn make(
    context: &Context,
    max_frames: u64,
    last: bool,
) -> Result<Opened, QueueError> {
    let stream = open_stream(context, max_frames, last).await?;
    Ok(Opened {
        live: consumer(&stream, "live", LIVE).await?,
        backlog: consumer(&stream, "backlog", BACKLOG).await?,
        stream,
    })
}

/// Makes the stream, or updates it, with as many copies as there are servers for; copies are never removed. A new
/// stream gets fewer copies only if `fewer_will_do`.
async fn open_stream(
    context: &Context,
    max_frames: u64,
    fewer_will_do: bool,
) -> Result<Stream<()>, QueueError> {
    let what = "making the stream";
    let config = |num_replicas| Config {
        name: STREAM.to_owned(),
        subjects: vec![SUBJECTS.to_owned()],
        retention: RetentionPolicy::WorkQueue,
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        // Leaves capacity for frames that arrive while the bound is being checked.
        max_messages: i64::try_from(max_frames + max_frames / 10 + 1024).unwrap_or(i64::MAX),
        num_replicas,
        ..Config::default()
    };
    let there = match context.get_stream(STREAM).await {
        Ok(stream) => Some(stream.cached_info().config.num_replicas),
        Err(error) if is_absent(&error.kind()) => None,
        Err(error) => return Err(failed(what)(error)),
    };
    let copies = there.unwrap_or(1);
    let made = context
        .create_or_update_stream(config(REPLICAS.max(copies)))
        .await;
    if let Err(error) = made {
        let no_cluster = is_one_of(
            &error,
            [
                ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED,
                ErrorCode::STREAM_REPLICAS_NOT_UPDATABLE,
            ],
        );
        let too_few_servers = is_one_of(
            &error,
            [
                ErrorCode::CLUSTER_NO_PEERS,
                ErrorCode::INSUFFICIENT_RESOURCES,
            ],
        );
        let electing = there.is_none() && !fewer_will_do;
        if !no_cluster && (!too_few_servers || electing) {
            return Err(failed(what)(error));
        }
        if too_few_servers {
            tracing::warn!(copies, "NATS has too few servers for three copies");
        }
        let made = context.create_or_update_stream(config(copies)).await;
        made.map_err(failed(what))?;
    }
    let stream = context.get_stream_no_info(STREAM).await;
    stream.map_err(failed(what))
}

async fn consumer(
    stream: &Stream<()>,
    name: &str,
    subject: &str,
) -> Result<PullConsumer, QueueError> {
    let config = pull::Config {
        durable_name: Some(name.to_owned()),
        filter_subject: subject.to_owned(),
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        // The count in the row bounds the attempts; then the frame fails.
        max_deliver: -1,
        max_ack_pending: MAX_HELD,
        ..pull::Config::default()
    };
    let made = stream.create_consumer(config).await;
    made.map_err(failed("making the consumer"))
}

fn is_absent(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(answer)
        if answer.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

fn is_one_of(error: &CreateStreamError, codes: [ErrorCode; 2]) -> bool {
    matches!(error.kind(), CreateStreamErrorKind::JetStream(answer)
        if codes.contains(&answer.error_code()))
}

/// Whether a later try may succeed: JetStream did not answer, is not ready, or does not know its servers yet.
fn may_pass(error: &async_nats::Error) -> bool {
    const BAD_REQUEST: usize = 400;
    answer(error).is_none_or(|answer| {
        answer.code() != BAD_REQUEST || answer.error_code() == ErrorCode::CLUSTER_NO_PEERS
    })
}

/// The answer of JetStream itself, if it gave one.
fn answer(error: &async_nats::Error) -> Option<jetstream::Error> {
    let of_stream = error.downcast_ref().map(CreateStreamError::kind);
    let of_search = error.downcast_ref().map(GetStreamError::kind);
    let of_consumer = error.downcast_ref().map(ConsumerError::kind);
    match (of_stream, of_search, of_consumer) {
        (Some(CreateStreamErrorKind::JetStream(answer)), ..)
        | (_, Some(GetStreamErrorKind::JetStream(answer)), _)
        | (.., Some(ConsumerErrorKind::JetStream(answer))) => Some(answer),
        _ => None,
    }
}
