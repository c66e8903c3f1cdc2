//! The processes of one service: the messages between them, and the edge nodes that each of them knows.

mod nats;
mod node_registry;

pub(crate) use nats::Nats;
pub(crate) use node_registry::{NodeJson, NodeRegistry, NodeStream};
