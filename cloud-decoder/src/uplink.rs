//! The uplink: an edge node's stream of encoded frames, each acked once it is durable.

use std::{fmt::Display, pin::pin, sync::Arc, time::Duration};

use daemon::{boot::SPANS, metrics::Raised, tokens::Authenticator, trace};
use patchwire_proto::{
    limits,
    v1::{
        Ack, AckStatus, CloudMessage, Drain, EdgeMessage, EncodedFrame, Hello, Welcome,
        cloud_message::Body as CloudBody, edge_message::Body as EdgeBody, uplink_server::Uplink,
    },
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, async_trait};
use tracing::{Instrument as _, Span, info_span};
use uuid::Uuid;

use crate::{
    check,
    decoders::Decoders,
    frame::NewFrame,
    grpc::{Guest, revoked},
    metrics::{Metrics, Outcome},
    nodes::{Call, Nodes},
    share::{self, Shares},
    store::{Insertion, Store},
    turn::{Order, Turn},
};

/// Bytes of frames that all streams together hold while they are stored.
const IN_FLIGHT_BYTES: u32 = 512 << 20;
/// How long a node may take to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// What every uplink stream needs.
pub(crate) struct UplinkService {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    metrics: Arc<Metrics>,
    nodes: Nodes,
    decoders: Arc<Decoders>,
    max_pixels: u64,
    max_message_bytes: usize,
    window: u32,
    max_streams: usize,
    shares: Shares,
    age: Duration,
    grace: Duration,
    streams: Arc<Semaphore>,
    in_flight: Arc<Semaphore>,
    gate: Authenticator,
    shutdown: CancellationToken,
}

/// Limits of the uplink.
pub(crate) struct Limits {
    pub(crate) decoders: Arc<Decoders>,
    /// Largest frame, width times height.
    pub(crate) max_pixels: u64,
    pub(crate) max_message_bytes: usize,
    pub(crate) window: u32,
    /// Most streams at once.
    pub(crate) max_streams: usize,
    pub(crate) shares: Shares,
    /// Age at which a stream is asked to come again, give or take a tenth.
    pub(crate) age: Duration,
    /// Longest that it may take to do so.
    pub(crate) grace: Duration,
}

impl UplinkService {
    pub(crate) fn new(
        store: Store,
        metrics: Arc<Metrics>,
        nodes: Nodes,
        limits: Limits,
        gate: Authenticator,
        shutdown: CancellationToken,
    ) -> Self {
        let in_flight = IN_FLIGHT_BYTES.max(limits.max_message_bytes as u32);
        Self {
            shared: Arc::new(Shared {
                store,
                metrics,
                nodes,
                decoders: limits.decoders,
                max_pixels: limits.max_pixels,
                max_message_bytes: limits.max_message_bytes,
                window: limits.window,
                max_streams: limits.max_streams,
                shares: limits.shares,
                age: limits.age,
                grace: limits.grace,
                streams: Arc::new(Semaphore::new(limits.max_streams)),
                in_flight: Arc::new(Semaphore::new(in_flight as usize)),
                gate,
                shutdown,
            }),
        }
    }
}

#[async_trait]
impl Uplink for UplinkService {
    type StreamStream = ReceiverStream<Result<CloudMessage, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<EdgeMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let shared = self.shared.clone();
        let guest = request.extensions().get::<Guest>().cloned();
        let Ok(slot) = shared.streams.clone().try_acquire_owned() else {
            return Err(Status::resource_exhausted(format!(
                "{} uplink streams are open, which is the most allowed",
                shared.max_streams
            )));
        };
        // Room for what is sent unasked, too: the welcome and the drain.
        let (acks, outbound) = mpsc::channel(shared.window as usize + 2);
        tokio::spawn(async move {
            let raised = Raised::new(&shared.metrics.uplinks);
            let stop = shared.shutdown.clone();
            let inbound = request.into_inner();
            let served = serve_node(shared, guest, inbound, acks.clone(), stop).await;
            if let Err(status) = served {
                tracing::info!(%status, "uplink ended");
                // The node may be gone, and then has no use for the status.
                acks.send(Err(status)).await.ok();
            }
            drop((slot, raised));
        });
        Ok(Response::new(ReceiverStream::new(outbound)))
    }
}

type Acks = mpsc::Sender<Result<CloudMessage, Status>>;

async fn serve_node(
    shared: Arc<Shared>,
    guest: Option<Guest>,
    mut inbound: Streaming<EdgeMessage>,
    acks: Acks,
    stop: CancellationToken,
) -> Result<(), Status> {
    let hello = match timeout(HELLO_TIMEOUT, inbound.message()).await {
        Err(_) => return Err(Status::deadline_exceeded("no hello within 10 seconds")),
        Ok(message) => match message?.and_then(|m| m.body) {
            Some(EdgeBody::Hello(hello)) => hello,
            _ => return Err(Status::invalid_argument("the first message is not a hello")),
        },
    };
    limits::check_hello(&hello).map_err(|e| Status::invalid_argument(e.to_string()))?;
    if let Some(Guest(Some(holder))) = &guest
        && holder.name != hello.node_id
    {
        return Err(Status::permission_denied(format!(
            "the token is that of node {}, the hello that of {}",
            holder.name, hello.node_id
        )));
    }
    let mut revoked = pin!(revoked(shared.gate.clone(), guest));
    let node: Arc<str> = hello.node_id.as_str().into();
    let Some(_place) = shared.shares.enter(node.clone()) else {
        let most = share::MAX_STREAMS;
        return Err(Status::resource_exhausted(format!(
            "node {node} has {most} streams open, which is the most allowed"
        )));
    };
    let call = welcome(&shared, hello, &acks).await?;
    let mut deadline = Instant::now() + shared.age.mul_f64(rand::random_range(0.9..=1.1));
    let mut draining = false;

    let mut storing: JoinSet<Result<(), Status>> = JoinSet::new();
    let mut order = Order::default();
    let result = loop {
        let message = tokio::select! {
            biased;
            () = stop.cancelled() => break Ok(()),
            status = &mut revoked => break Err(status),
            Some(stored) = storing.join_next() => match stored {
                Ok(Ok(())) => continue,
                Ok(Err(status)) => break Err(status),
                Err(panic) => break Err(Status::internal(panic.to_string())),
            },
            () = sleep_until(deadline) => {
                if draining {
                    break Err(Status::unavailable("the stream did not end when it was asked to"));
                }
                draining = true;
                deadline = Instant::now() + shared.grace;
                shared.metrics.drained.inc();
                let body = Some(CloudBody::Drain(Drain {}));
                // A node that leaves no room for this does not listen; the grace will end.
                acks.try_send(Ok(CloudMessage { body })).ok();
                continue;
            }
            message = inbound.message(), if storing.len() < shared.window as usize => message,
        };
        let frame = match message {
            Ok(Some(EdgeMessage { body })) => match body {
                Some(EdgeBody::Frame(frame)) => frame,
                Some(EdgeBody::Status(status)) => match limits::check_status(&status) {
                    Ok(()) => {
                        call.told(status);
                        continue;
                    }
                    Err(error) => break Err(Status::invalid_argument(error.to_string())),
                },
                Some(EdgeBody::Hello(_)) => {
                    break Err(Status::invalid_argument("a second hello on one stream"));
                }
                None => break Err(Status::invalid_argument("an empty message")),
            },
            Ok(None) => break Ok(()),
            Err(status) => break Err(status),
        };
        // Not reading on is what holds a fast node back, and so is the wait for room.
        if let Some(wait) = shared.shares.wait(&node) {
            shared.metrics.held_back.inc();
            tokio::select! {
                () = stop.cancelled() => break Ok(()),
                () = sleep(wait) => {}
            }
        }
        tokio::select! {
            () = stop.cancelled() => break Ok(()),
            () = shared.store.room() => {}
        }
        let room = room(&shared, &frame).await?;
        let (shared, node, acks) = (shared.clone(), node.clone(), acks.clone());
        let turn = order.next();
        storing.spawn(async move {
            let _raised = Raised::new(&shared.metrics.ingest_in_flight);
            let start = Instant::now();
            let span = info_span!(
                target: SPANS, parent: None, "ingest frame", otel.kind = "consumer", %node,
                frame = %Uuid::from_slice(&frame.frame_id).unwrap_or_default(),
            );
            trace::continues(&span, &frame.traceparent);
            let accepted = accept(&shared, &node, frame, turn).instrument(span);
            let ack = accepted.await.inspect_err(|_| {
                shared.metrics.ingest_failures.inc();
            })?;
            let seconds = start.elapsed().as_secs_f64();
            shared.metrics.ingest_seconds.observe(seconds);
            drop(room);
            let body = Some(CloudBody::Ack(ack));
            acks.send(Ok(CloudMessage { body })).await.ok();
            Ok(())
        });
    };
    // What was begun is finished and acked, however the stream ended.
    while storing.join_next().await.is_some() {}
    result
}

async fn welcome(shared: &Shared, hello: Hello, acks: &Acks) -> Result<Call, Status> {
    tracing::info!(
        node = hello.node_id,
        version = hello.software_version,
        "uplink opened"
    );
    let welcome = Welcome {
        software_version: env!("CARGO_PKG_VERSION").to_owned(),
        max_message_bytes: shared.max_message_bytes as u64,
        window: shared.window,
        takes_status: true,
        takes_camera_originals: true,
        max_pixels: shared.max_pixels,
    };
    let call = shared.nodes.called(hello);
    let body = Some(CloudBody::Welcome(welcome));
    acks.send(Ok(CloudMessage { body }))
        .await
        .map_err(|_| Status::cancelled("the node left"))?;
    Ok(call)
}

async fn room(shared: &Shared, frame: &EncodedFrame) -> Result<OwnedSemaphorePermit, Status> {
    let bytes = frame.latents.len() + frame.original.as_ref().map_or(0, |o| o.data.len());
    let bytes = u32::try_from(bytes.min(shared.max_message_bytes)).unwrap_or(u32::MAX);
    let room = shared.in_flight.clone().acquire_many_owned(bytes).await;
    room.map_err(|_| Status::unavailable("the service is shutting down"))
}

/// Stores a frame or says why not. An error means that it could not be stored now.
async fn accept(
    shared: &Shared,
    node: &str,
    mut frame: EncodedFrame,
    mut turn: Turn,
) -> Result<Ack, Status> {
    let own = trace::traceparent(&Span::current());
    if !own.is_empty() {
        frame.traceparent = own;
    }
    let frame_id = frame.frame_id.clone();
    let received_ms = shared.store.now_ms().await.map_err(unavailable)?;
    let checked = check::check(shared.max_pixels, node, received_ms, frame);
    let (outcome, status, reason) = match checked {
        Err(reason) => (Outcome::Rejected, AckStatus::Rejected, reason),
        Ok(parts) => {
            let reason = undecodable(shared, &parts.0);
            match store(shared, parts, &mut turn).await? {
                Insertion::New => (Outcome::Accepted, AckStatus::Accepted, reason),
                Insertion::Duplicate => (Outcome::Duplicate, AckStatus::Duplicate, String::new()),
                Insertion::Conflict => {
                    let reason = "another frame of the same id is kept".to_owned();
                    (Outcome::Rejected, AckStatus::Rejected, reason)
                }
            }
        }
    };
    // What has no row to write waits for its turn too, so that it does not let the next ones pass.
    turn.wait().await.map_err(unavailable)?;
    turn.pass();
    shared.metrics.received(outcome);
    if outcome == Outcome::Rejected {
        let frame = Uuid::from_slice(&frame_id).unwrap_or_default();
        tracing::warn!(node, %frame, reason, "frame rejected");
    }
    Ok(Ack {
        frame_id,
        status: status.into(),
        reason,
    })
}

/// Why a frame will wait for a decoder, for its ack; empty when one is there.
fn undecodable(shared: &Shared, frame: &NewFrame) -> String {
    let Some(program) = frame.program_id else {
        return String::new();
    };
    let found = shared.decoders.find(program, frame.bits_per_patch());
    found.map_or_else(|missing| missing.to_string(), |_| String::new())
}

fn unavailable(error: impl Display) -> Status {
    Status::unavailable(format!("frames cannot be stored now: {error}"))
}

async fn store(
    shared: &Shared,
    (frame, object, original): check::Parts,
    turn: &mut Turn,
) -> Result<Insertion, Status> {
    if let Some(found) = shared.store.find(&frame).await.map_err(unavailable)? {
        return Ok(found);
    }
    let (bytes, ones) = (frame.bytes, frame.latent_ones);
    let stored = shared.store.put(frame, object, original, turn).await;
    let stored = stored.map_err(unavailable)?;
    if stored == Insertion::New {
        shared.metrics.ingest_bytes.inc_by(bytes);
        if let Some(ones) = ones {
            shared.metrics.latent_ones.observe(ones);
        }
    }
    Ok(stored)
}
