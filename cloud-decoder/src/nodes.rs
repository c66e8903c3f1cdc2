//! The edge nodes that call, as far as they tell: what is loaded on their chips, how their spools fare.
//!
//! This is not kept on disk: after a restart a node is known again once it has called.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use patchwire_proto::v1::{Hello, NodeStatus, Program};
use serde::Serialize;

use crate::clock::now_ms;

/// Most nodes that are remembered; of those that are gone, the one that is gone longest is forgotten.
const MAX_NODES: usize = 1024;

/// All nodes. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Nodes {
    nodes: Arc<Mutex<HashMap<String, Entry>>>,
}

struct Entry {
    streams: u32,
    version: String,
    programs: Vec<Program>,
    status: Option<NodeStatus>,
    /// When the node called, or hung up if it is gone.
    changed_ms: i64,
}

/// A node, as people see it.
#[derive(Clone, Debug, Serialize)]
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

#[derive(Clone, Debug, Serialize)]
struct SpoolJson {
    frames: u64,
    bytes: u64,
    max_bytes: u64,
    bits_per_patch: u32,
    dropped: u64,
}

/// A program that a node has loaded.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ProgramJson {
    id: String,
    name: String,
    task: &'static str,
    latent_bits: u32,
    layers: u32,
    macs_per_patch: u64,
    budget_bits: u64,
    memory_bits: MemoryJson,
}

#[derive(Clone, Debug, Serialize)]
struct MemoryJson {
    weights: u64,
    wiring: u64,
    biases: u64,
    shifts: u64,
    maps: u64,
}

impl Nodes {
    /// A node has said hello; it is connected until the answer is dropped.
    pub(crate) fn called(&self, hello: Hello) -> Call {
        let mut nodes = self.lock();
        if !nodes.contains_key(&hello.node_id) && nodes.len() >= MAX_NODES {
            forget_one(&mut nodes);
        }
        let entry = nodes.entry(hello.node_id.clone()).or_insert(Entry {
            streams: 0,
            version: String::new(),
            programs: Vec::new(),
            status: None,
            changed_ms: 0,
        });
        entry.streams += 1;
        entry.version = hello.software_version;
        entry.programs = hello.programs;
        entry.changed_ms = now_ms();
        Call {
            nodes: self.clone(),
            node: hello.node_id,
        }
    }

    /// All nodes by name.
    pub(crate) fn list(&self) -> Vec<NodeJson> {
        let mut nodes: Vec<_> = self.lock().iter().map(NodeJson::from).collect();
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
        nodes
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
pub(crate) struct Call {
    nodes: Nodes,
    node: String,
}

impl Call {
    /// The node has told how it fares.
    pub(crate) fn told(&self, status: NodeStatus) {
        if let Some(entry) = self.nodes.lock().get_mut(&self.node) {
            entry.status = Some(status);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(entry) = self.nodes.lock().get_mut(&self.node) {
            entry.streams -= 1;
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
            programs: entry.programs.iter().map(ProgramJson::from).collect(),
            spool: entry.status.map(|status| SpoolJson {
                frames: status.spool_frames,
                bytes: status.spool_bytes,
                max_bytes: status.spool_max_bytes,
                bits_per_patch: status.bits_per_patch,
                dropped: status.dropped_frames,
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
            },
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
        let nodes = Nodes::default();
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
        let nodes = Nodes::default();
        let stays = nodes.called(hello("stays"));
        for n in 0..=MAX_NODES {
            drop(nodes.called(hello(&format!("n{n}"))));
        }
        let names: Vec<_> = nodes.list().into_iter().map(|n| n.node).collect();
        assert_eq!(names.len(), MAX_NODES);
        assert!(names.contains(&"stays".to_owned()));
        drop(stays);
    }
}
