//! One stream of an edge node: hello, then frames and status within the node's limits, until either side ends it.

use std::{pin::pin, sync::Arc, time::Duration};

use daemon::metrics::Raised;
use patchwire_proto::{
    limits,
    v1::{
        CloudMessage, Drain, EdgeMessage, EncodedFrame, Hello, Welcome,
        cloud_message::Body as CloudBody, edge_message::Body as EdgeBody,
    },
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};
use tonic::{Status, Streaming};

use super::{
    coded::{Bounds, StreamCodec, arrival},
    quota::MAX_STREAMS,
    sequence::{Admitted, Answers},
    shared::Shared,
};
use crate::{
    auth::{Caller, revoked},
    cluster::NodeStream,
};

/// Longest time until a node says hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// A stream.
pub(super) struct Session<'a> {
    pub(super) shared: &'a Shared,
    pub(super) answers: Answers,
    pub(super) inbound: Streaming<EdgeMessage>,
}

impl Session<'_> {
    /// Runs until the node, the limits or the service end the stream. Frames that were read are stored and acknowledged
    /// in any case, unless one of them could not be stored.
    pub(super) async fn run(mut self, caller: Option<Caller>) -> Result<(), Status> {
        let hello = self.hello(caller.as_ref()).await?;
        let node: Arc<str> = hello.node_id.as_str().into();
        let Some(_open) = self.shared.limits.quotas.open_stream(node.clone()) else {
            return Err(Status::resource_exhausted(format!(
                "node {node} has {MAX_STREAMS} streams open, which is the most allowed"
            )));
        };
        let (registered, codec) = self.welcome(hello).await?;
        let shared = self.shared;
        let (admitted, arriving) = mpsc::channel(1);
        let answers = self.answers.clone();
        let storing = shared.sequencer.store_in_order(&node, arriving, answers);
        let (read, stored) = tokio::join!(
            self.read_frames(&node, &registered, codec, caller, admitted),
            storing
        );
        stored.and(read)
    }

    async fn hello(&mut self, caller: Option<&Caller>) -> Result<Hello, Status> {
        let hello = match timeout(HELLO_TIMEOUT, self.inbound.message()).await {
            Err(_) => return Err(Status::deadline_exceeded("no hello within 10 seconds")),
            Ok(message) => match message?.and_then(|m| m.body) {
                Some(EdgeBody::Hello(hello)) => hello,
                _ => return Err(Status::invalid_argument("the first message is not a hello")),
            },
        };
        limits::check_hello(&hello).map_err(|e| Status::invalid_argument(e.to_string()))?;
        if let Some(Caller(Some(holder))) = caller
            && holder.name != hello.node_id
        {
            return Err(Status::permission_denied(format!(
                "the token is that of node {}, the hello that of {}",
                holder.name, hello.node_id
            )));
        }
        Ok(hello)
    }

    async fn welcome(&self, hello: Hello) -> Result<(NodeStream, StreamCodec), Status> {
        tracing::info!(
            node = hello.node_id,
            version = hello.software_version,
            "uplink opened"
        );
        let limits = &self.shared.limits;
        let mut welcome = Welcome {
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            max_message_bytes: limits.max_message_bytes as u64,
            window: limits.window,
            takes_status: true,
            takes_camera_originals: true,
            max_pixels: limits.max_pixels,
            ..Welcome::default()
        };
        let gauge = self.shared.sequencer.metrics.reference_bytes.clone();
        let codec = self.shared.codec.open(&mut welcome, gauge);
        let registered = self.shared.nodes.called(hello);
        let body = Some(CloudBody::Welcome(welcome));
        let sent = self.answers.send(Ok(CloudMessage { body })).await;
        sent.map_err(|_| Status::cancelled("the node left"))?;
        Ok((registered, codec))
    }

    /// Reads frames and hands them to be stored, until the stream ends or storing does.
    async fn read_frames(
        &mut self,
        node: &str,
        registered: &NodeStream,
        mut codec: StreamCodec,
        caller: Option<Caller>,
        admitted: mpsc::Sender<Admitted>,
    ) -> Result<(), Status> {
        let shared = self.shared;
        let mut revoked = pin!(revoked(shared.gate.clone(), caller));
        let age = shared.limits.age.mul_f64(rand::random_range(0.9..=1.1));
        let mut deadline = Instant::now() + age;
        let mut draining = false;
        loop {
            let message = tokio::select! {
                biased;
                () = shared.shutdown.cancelled() => return Ok(()),
                status = &mut revoked => return Err(status),
                () = admitted.closed() => return Ok(()),
                () = sleep_until(deadline) => {
                    if draining {
                        return Err(Status::unavailable("the stream did not end when it was asked to"));
                    }
                    draining = true;
                    deadline = Instant::now() + shared.limits.grace;
                    self.drain();
                    continue;
                }
                message = self.inbound.message() => message?,
            };
            let Some(EdgeMessage { body }) = message else {
                return Ok(());
            };
            match body {
                Some(EdgeBody::Frame(frame)) => {
                    let admit = self.admit(node, frame, &mut codec, &admitted);
                    match shared.shutdown.run_until_cancelled(admit).await {
                        Some(admitted) => admitted?,
                        None => return Ok(()),
                    }
                }
                Some(EdgeBody::Status(status)) => {
                    let checked = limits::check_status(&status);
                    checked.map_err(|e| Status::invalid_argument(e.to_string()))?;
                    registered.told(status);
                }
                Some(EdgeBody::Hello(_)) => {
                    return Err(Status::invalid_argument("a second hello on one stream"));
                }
                None => return Err(Status::invalid_argument("an empty message")),
            }
        }
    }

    /// Asks the node to reconnect.
    fn drain(&self) {
        self.shared.sequencer.metrics.drained.inc();
        let body = Some(CloudBody::Drain(Drain {}));
        // A node that leaves no capacity for this message does not read; the grace period will end the stream.
        self.answers.try_send(Ok(CloudMessage { body })).ok();
    }

    /// Waits for the node's rate, the queue and the memory that all streams share. Meanwhile nothing is read, which
    /// slows a fast node down. Then the frame's latents are decoded.
    async fn admit(
        &self,
        node: &str,
        mut frame: EncodedFrame,
        codec: &mut StreamCodec,
        admitted: &mpsc::Sender<Admitted>,
    ) -> Result<(), Status> {
        let shared = self.shared;
        let bounds = Bounds {
            max_message_bytes: shared.limits.max_message_bytes,
            max_pixels: shared.limits.max_pixels,
        };
        let (arrival, latents) = arrival(&frame, bounds)?;
        let metrics = &shared.sequencer.metrics;
        if let Some(wait) = shared.limits.quotas.wait(node) {
            metrics.held_back.inc();
            sleep(wait).await;
        }
        shared.sequencer.store.queue_capacity().await;
        let memory = shared.sequencer.reserve(&frame, latents).await;
        codec.decode(&mut frame, &shared.shutdown).await?;
        if let Some(travelled) = arrival.latents {
            metrics.travelled(travelled, latents as u64);
        }
        let admit = Admitted {
            frame,
            arrival,
            since: Instant::now(),
            held: (memory, Raised::new(&metrics.ingest_in_flight)),
        };
        // If storing has ended, it reports the reason itself.
        admitted.send(admit).await.ok();
        Ok(())
    }
}
