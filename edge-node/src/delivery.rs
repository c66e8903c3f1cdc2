//! Sends the spool's frames to the cloud: the spool as a source of [`uplink`], and its metrics.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use daemon::files::Live;
use latent::prior::Prior;
use patchwire_proto::v1::{self, NodeStatus};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uplink::{Ack, Client, End, Entry, LinkError, Outcome, SentLatents, Source, SourceError};

use crate::{
    metrics::{AckKind, Metrics},
    pipeline::Programs,
    spool::{FrameState, Spool},
};

/// Characters of a program's name that the cloud is told; in UTF-8 a character has at most 4 bytes.
const MAX_NAME: usize = patchwire_proto::limits::MAX_TEXT / 4;

/// The spool as the uplink reads it.
pub(crate) struct Delivery {
    spool: Arc<Spool>,
    programs: Live<Programs>,
    metrics: Metrics,
}

impl Delivery {
    pub(crate) fn new(spool: Arc<Spool>, programs: Live<Programs>, metrics: Metrics) -> Self {
        Self {
            spool,
            programs,
            metrics,
        }
    }

    /// Runs the client until `stop`.
    pub(crate) async fn run(self: Arc<Self>, client: Client<Self>, stop: CancellationToken) {
        client.run(None, stop).await;
        self.reset_gauges();
    }

    fn reset_gauges(&self) {
        let metrics = &self.metrics;
        for gauge in [&metrics.connected, &metrics.unacked, &metrics.window] {
            gauge.set(0);
        }
    }
}

impl Source for Delivery {
    async fn next_after(&self, seq: i64) -> Result<Option<Entry>, SourceError> {
        Ok(self.spool.next_after(seq).await?)
    }

    async fn arrival(&self) {
        self.spool.arrival().await;
    }

    async fn acknowledge(&self, acks: &[(Ack, Duration)]) -> Result<(), SourceError> {
        let states = acks.iter().map(|(ack, elapsed)| {
            self.metrics.ack_seconds.observe(elapsed.as_secs_f64());
            let state = match &ack.outcome {
                Outcome::Accepted { .. } => FrameState::Delivered,
                Outcome::Duplicate => FrameState::Duplicate,
                Outcome::Rejected { reason } => FrameState::Rejected {
                    reason: reason.clone(),
                },
            };
            (ack.id, state)
        });
        self.spool.acknowledge(&states.collect::<Vec<_>>()).await?;
        for (Ack { id, outcome }, _) in acks {
            tracing::debug!(frame = %id, ?outcome, "ack");
            let kind = match outcome {
                Outcome::Accepted { .. } => AckKind::Accepted,
                Outcome::Duplicate => AckKind::Duplicate,
                Outcome::Rejected { reason } => {
                    tracing::warn!(frame = %id, reason, "the cloud rejected a frame, quarantined it");
                    AckKind::Rejected
                }
            };
            self.metrics.acks.get_or_create(&kind).inc();
        }
        Ok(())
    }

    fn status(&self) -> NodeStatus {
        let backlog = self.spool.backlog();
        NodeStatus {
            spool_frames: backlog.frames,
            spool_bytes: backlog.bytes,
            spool_max_bytes: self.spool.max_bytes(),
            bits_per_patch: self.programs.get().all().compress.bits(self.spool.fill()),
            dropped_frames: self.metrics.lost(),
            held_frames: 0,
        }
    }

    fn connecting(&self) {
        self.metrics.connects.inc();
    }

    fn connected(&self, window: usize) {
        self.metrics.connected.set(1);
        self.metrics.window.set(window as i64);
    }

    fn disconnected(&self, end: &Result<End, LinkError>) {
        self.reset_gauges();
        match end {
            Ok(_) => self.metrics.drained.inc(),
            Err(_) => self.metrics.failures.inc(),
        };
    }

    fn priors(&self) -> Vec<Arc<Prior>> {
        self.programs.get().priors().to_vec()
    }

    fn sent(&self, bytes: usize, latents: Option<SentLatents>) {
        let metrics = &self.metrics;
        metrics.sent.inc();
        metrics.sent_bytes.inc_by(bytes as u64);
        if let Some(latents) = latents {
            let travelled = latents.travelled.into();
            let bytes = metrics.sent_latent_bytes.get_or_create(&travelled);
            bytes.inc_by(latents.bytes as u64);
            let container_bytes = metrics.sent_container_bytes.get_or_create(&travelled);
            container_bytes.inc_by(latents.container_bytes as u64);
        }
    }

    fn unacknowledged(&self, frames: usize) {
        self.metrics.unacked.set(frames as i64);
    }

    fn held(&self, frames: u64) {
        self.metrics.spool_held.set(frames as i64);
    }

    fn original_left_out(&self) {
        self.metrics.originals_skipped.inc();
    }
}

/// The hello of a node with these programs.
pub(crate) fn hello(node_id: &str, programs: &Programs) -> v1::Hello {
    let loaded = programs.loaded().into_iter();
    let programs: Vec<_> = loaded
        .map(|loaded| describe_program(&loaded.emulator))
        .collect();
    v1::Hello {
        node_id: node_id.into(),
        software_version: env!("CARGO_PKG_VERSION").into(),
        program_ids: programs.iter().map(|program| program.id.clone()).collect(),
        programs,
    }
}

/// Keeps the hello, the metrics and the log up to date with the loaded programs, until `stop`.
pub(crate) async fn announce_programs(
    node_id: String,
    programs: Live<Programs>,
    hello_of: watch::Sender<v1::Hello>,
    metrics: Metrics,
    stop: CancellationToken,
) {
    loop {
        let now = programs.get();
        metrics.programs.set(now.loaded().len() as i64);
        tokio::select! {
            () = stop.cancelled() => return,
            () = programs.changed_from(&now) => {}
        }
        let now = programs.get();
        hello_of.send_replace(hello(&node_id, &now));
        metrics.program_switches.inc();
        for loaded in now.loaded() {
            let program = loaded.emulator.program();
            tracing::info!(id = %program.id(), name = program.name(), task = %program.task(), "loaded");
        }
    }
}

/// A program as a node announces it to the cloud.
pub fn describe_program(emulator: &nqe::Emulator) -> v1::Program {
    let program = emulator.program();
    let memory = program.memory();
    v1::Program {
        id: Bytes::copy_from_slice(program.id().as_bytes()),
        name: program.name().chars().take(MAX_NAME).collect(),
        classifies: program.task() == nqe::Task::Classify,
        latent_bits: program.latent_bits().unwrap_or(0),
        layers: program.layers().len() as u32,
        macs_per_patch: program.macs(),
        weight_bits: memory.weights(),
        wiring_bits: memory.wiring(),
        bias_bits: memory.biases(),
        shift_bits: memory.shifts(),
        map_bits: memory.maps(),
        budget_bits: nqe::BUDGET_BITS,
    }
}
