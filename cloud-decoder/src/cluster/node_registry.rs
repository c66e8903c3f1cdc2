//! The edge nodes that connect, with the programs on their chips and the reported state of their spools.
//!
//! The registry is not kept on disk: after a restart a node is known again once it has connected. Processes that share
//! a NATS server tell each other their nodes every few seconds.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::StreamExt as _;
use patchwire_proto::v1::{Hello, NodeStatus, Program};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;
use uuid::Uuid;

use super::nats::Nats;
use crate::clock::now_ms;

/// Most nodes that are kept. Beyond that, the node that has been disconnected longest is forgotten.
const MAX_NODES: usize = 16_384;
/// Most nodes of other processes, all together.
const MAX_TOLD: usize = 131_072;

/// Subject of the messages about nodes.
const SUBJECT: &str = "patchwire.nodes";
/// Time between two messages of a process.
const TELL: Duration = Duration::from_secs(3);
/// Time between two messages about an unchanged node, so that a new process soon knows it.
const TELL_ALL: u32 = 5;
/// Most nodes in one message.
const TOLD_AT_ONCE: usize = 64;
/// A process that is silent for this long counts as gone, and its nodes too.
const SILENT: Duration = Duration::from_secs(15);
/// Most other processes that are kept.
const MAX_PROCESSES: usize = 64;

/// All nodes. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct NodeRegistry {
    nodes: Arc<Mutex<HashMap<String, Entry>>>,
    /// Nodes of other processes.
    others: Arc<Mutex<HashMap<Uuid, Process>>>,
}

/// Another process's nodes.
struct Process {
    heard: Instant,
    nodes: HashMap<String, NodeJson>,
}

/// A message of a process about some of its nodes.
#[derive(Serialize, Deserialize)]
struct Told {
    process: Uuid,
    nodes: Vec<NodeJson>,
}

struct Entry {
    /// Whether it changed since the last message.
    fresh: bool,
    streams: u32,
    version: String,
    // Copied, because fields of the message share the memory of all of it.
    programs: Vec<ProgramJson>,
    status: Option<NodeStatus>,
    /// When the node connected, or disconnected.
    changed_ms: i64,
}

/// A node, as people see it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct NodeJson {
    node: String,
    connected: bool,
    /// When it called, or hung up.
    changed_ms: i64,
    version: String,
    programs: Vec<ProgramJson>,
    /// Absent for a node that does not tell. Of a node that is gone, the last that it told.
    spool: Option<SpoolJson>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
struct SpoolJson {
    frames: u64,
    bytes: u64,
    max_bytes: u64,
    bits_per_patch: u32,
    dropped: u64,
    /// Of the frames, those that are larger than the cloud takes.
    #[serde(default)]
    held: u64,
}

/// A program that a node has loaded.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ProgramJson {
    id: String,
    name: String,
    task: String,
    latent_bits: u32,
    layers: u32,
    macs_per_patch: u64,
    budget_bits: u64,
    memory_bits: MemoryJson,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
struct MemoryJson {
    weights: u64,
    wiring: u64,
    biases: u64,
    shifts: u64,
    maps: u64,
}

impl NodeRegistry {
    /// Registers a node that said hello. It is connected until the returned value is dropped.
    pub(crate) fn called(&self, hello: Hello) -> NodeStream {
        let mut nodes = self.lock();
        if !nodes.contains_key(&hello.node_id) && nodes.len() >= MAX_NODES {
            forget_one(&mut nodes);
        }
        let entry = nodes.entry(hello.node_id.clone()).or_insert(Entry {
            fresh: true,
            streams: 0,
            version: String::new(),
            programs: Vec::new(),
            status: None,
            changed_ms: 0,
        });
        entry.fresh = true;
        entry.streams += 1;
        entry.version = hello.software_version;
        entry.programs = hello.programs.iter().map(ProgramJson::from).collect();
        entry.changed_ms = now_ms();
        NodeStream {
            nodes: self.clone(),
            node: hello.node_id,
        }
    }

    /// All nodes by name. If several processes know a node, the process that it is or was last connected to counts.
    pub(crate) fn list(&self) -> Vec<NodeJson> {
        let mut nodes: Vec<_> = self.lock().iter().map(NodeJson::from).collect();
        for process in self.others().values() {
            let gone = process.heard.elapsed() > SILENT;
            nodes.extend(process.nodes.values().map(|node| NodeJson {
                connected: node.connected && !gone,
                ..node.clone()
            }));
        }
        nodes.sort_by(|a, b| {
            let newest_first = (b.connected, b.changed_ms).cmp(&(a.connected, a.changed_ms));
            a.node.cmp(&b.node).then(newest_first)
        });
        nodes.dedup_by(|a, b| a.node == b.node);
        nodes
    }

    /// Exchanges nodes with the other processes until `stop`.
    pub(crate) async fn exchange(self, nats: Nats, stop: CancellationToken) -> anyhow::Result<()> {
        let process = Uuid::now_v7();
        let mut told = nats.subscribe(SUBJECT).await?;
        let mut ticks = interval(TELL);
        let mut round = 0u32;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = ticks.tick() => {
                    let all = round.is_multiple_of(TELL_ALL);
                    round = round.wrapping_add(1);
                    self.tell(process, all, &nats).await;
                }
                message = told.next() => match message {
                    Some(message) => self.hear(process, &message.payload),
                    None => anyhow::bail!("the connection to NATS is closed"),
                },
            }
        }
    }

    async fn tell(&self, process: Uuid, all: bool, nats: &Nats) {
        let mut nodes = Vec::new();
        for (name, entry) in self.lock().iter_mut() {
            if all || entry.fresh {
                entry.fresh = false;
                nodes.push(NodeJson::from((name, &*entry)));
            }
        }
        // A message without nodes says that the process is alive.
        loop {
            let rest = nodes.split_off(nodes.len().min(TOLD_AT_ONCE));
            let last = rest.is_empty();
            let told = serde_json::to_vec(&Told { process, nodes }).expect("strings and numbers");
            nats.publish(SUBJECT, told).await;
            if last {
                return;
            }
            nodes = rest;
        }
    }

    fn hear(&self, own: Uuid, message: &[u8]) {
        let Ok(told) = serde_json::from_slice::<Told>(message) else {
            tracing::warn!("a message about nodes cannot be read");
            return;
        };
        if told.process == own {
            return;
        }
        let mut others = self.others();
        if !others.contains_key(&told.process) && others.len() >= MAX_PROCESSES {
            let longest = others.iter().min_by_key(|(_, process)| process.heard);
            if let Some(silent) = longest.map(|(&id, _)| id) {
                others.remove(&silent);
            }
        }
        let mut known: usize = others.values().map(|process| process.nodes.len()).sum();
        let process = others.entry(told.process).or_insert_with(|| Process {
            heard: Instant::now(),
            nodes: HashMap::new(),
        });
        process.heard = Instant::now();
        for node in told.nodes {
            if known < MAX_TOLD || process.nodes.contains_key(&node.node) {
                let new = process.nodes.insert(node.node.clone(), node).is_none();
                known += usize::from(new);
            }
        }
    }

    fn others(&self) -> MutexGuard<'_, HashMap<Uuid, Process>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forget_one(nodes: &mut HashMap<String, Entry>) {
    let gone = nodes.iter().filter(|(_, entry)| entry.streams == 0);
    let longest = gone.min_by_key(|(_, entry)| entry.changed_ms);
    if let Some(node) = longest.map(|(node, _)| node.clone()) {
        nodes.remove(&node);
    }
}

/// A node's stream.
pub(crate) struct NodeStream {
    nodes: NodeRegistry,
    node: String,
}

impl NodeStream {
    /// The node has reported its status.
    pub(crate) fn told(&self, status: NodeStatus) {
        if let Some(entry) = self.nodes.lock().get_mut(&self.node) {
            entry.status = Some(status);
            entry.fresh = true;
        }
    }
}

impl Drop for NodeStream {
    fn drop(&mut self) {
        if let Some(entry) = self.nodes.lock().get_mut(&self.node) {
            entry.streams -= 1;
            entry.fresh = true;
            entry.changed_ms = now_ms();
        }
    }
}

impl From<(&String, &Entry)> for NodeJson {
    fn from((node, entry): (&String, &Entry)) -> Self {
        Self {
            node: node.clone(),
            connected: entry.streams > 0,
            changed_ms: entry.changed_ms,
            version: entry.version.clone(),
            programs: entry.programs.clone(),
            spool: entry.status.map(|status| SpoolJson {
                frames: status.spool_frames,
                bytes: status.spool_bytes,
                max_bytes: status.spool_max_bytes,
                bits_per_patch: status.bits_per_patch,
                dropped: status.dropped_frames,
                held: status.held_frames,
            }),
        }
    }
}

impl From<&Program> for ProgramJson {
    fn from(program: &Program) -> Self {
        Self {
            id: hex::encode(&program.id),
            name: program.name.clone(),
            task: match program.classifies {
                true => "classify",
                false => "compress",
            }
            .to_owned(),
            latent_bits: program.latent_bits,
            layers: program.layers,
            macs_per_patch: program.macs_per_patch,
            budget_bits: program.budget_bits,
            memory_bits: MemoryJson {
                weights: program.weight_bits,
                wiring: program.wiring_bits,
                biases: program.bias_bits,
                shifts: program.shift_bits,
                maps: program.map_bits,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(node: &str) -> Hello {
        Hello {
            node_id: node.to_owned(),
            ..Hello::default()
        }
    }

    #[test]
    fn a_node_with_two_streams_is_gone_when_both_ended() {
        let nodes = NodeRegistry::default();
        let (first, second) = (nodes.called(hello("a")), nodes.called(hello("a")));
        drop(first);
        assert!(nodes.list()[0].connected);
        second.told(NodeStatus {
            spool_frames: 7,
            ..NodeStatus::default()
        });
        drop(second);
        let node = nodes.list().remove(0);
        assert!(!node.connected);
        assert_eq!(node.spool.expect("told").frames, 7);
    }

    #[test]
    fn no_more_nodes_are_remembered_than_allowed() {
        let nodes = NodeRegistry::default();
        let stays = nodes.called(hello("stays"));
        for n in 0..=MAX_NODES {
            drop(nodes.called(hello(&format!("n{n}"))));
        }
        let names: Vec<_> = nodes.list().into_iter().map(|n| n.node).collect();
        assert_eq!(names.len(), MAX_NODES);
        assert!(names.contains(&"stays".to_owned()));
        drop(stays);
    }

    #[test]
    fn what_another_process_says_is_listed_until_it_is_silent() {
        let (here, there) = (NodeRegistry::default(), NodeRegistry::default());
        let (own, other) = (Uuid::now_v7(), Uuid::now_v7());
        let _moved = here.called(hello("moved"));
        drop(there.called(hello("moved")));
        let _there = there.called(hello("there"));
        let told = Told {
            process: other,
            nodes: there.list(),
        };
        let message = serde_json::to_vec(&told).expect("JSON");
        here.hear(own, &message);
        here.hear(other, b"rubbish");
        let seen = || {
            let nodes = here.list().into_iter();
            nodes.map(|n| (n.node, n.connected)).collect::<Vec<_>>()
        };
        let node = |name: &str, connected| (name.to_owned(), connected);
        assert_eq!(seen(), [node("moved", true), node("there", true)]);
        for process in here.others().values_mut() {
            process.heard -= SILENT * 2;
        }
        assert_eq!(seen(), [node("moved", true), node("there", false)]);
    }
}
