//! The client side of the stream to the cloud.
//!
//! One long-lived bidirectional gRPC stream: a hello, the cloud's welcome, then frames up and acks down, with a window
//! of unacknowledged frames. Frames come from a [`Source`], the spool of an edge node or a load generator, are read in
//! order, and leave it on their ack alone. After a reconnect, frames without an ack are sent again, in order. The cloud
//! knows frames by their id, so a frame that is sent twice is stored once.
//!
//! - A cloud that wants it is told the state of the source, ahead of the frames that wait.
//! - A cloud that is going away asks the client to drain the stream: the client sends no more frames and opens another
//!   stream once all are acknowledged. It does the same by itself when its hello has changed.
//! - Latents travel as the codec of the crate `latent` codes them, as far as the welcome offers it, and refer to the
//!   frame of the same camera that went over the same stream before. Each stream begins without references.
//! - A frame that is larger than the cloud takes stays in the source. Each stream begins with the oldest frame, so the
//!   frame goes as soon as a cloud takes it.
#![forbid(unsafe_code)]

mod ack;
mod client;
mod coding;
pub mod config;
mod connection;
mod error;
mod fit;
mod identity;
mod link;
mod session;
mod source;
mod window;

pub use self::{
    ack::{Ack, Outcome, Reply},
    client::Client,
    coding::{SentLatents, Travelled},
    config::Uplink,
    connection::Connection,
    error::{LinkError, SourceError},
    link::{End, Held, Link},
    source::{Entry, Source},
};
