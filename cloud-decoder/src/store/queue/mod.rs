//! The decode queue: which frames a worker is to decode next.
//!
//! The catalogue's rows in state `queued` say which frames wait; the queue says which worker gets which frame. It gives
//! each frame to one worker at a time, and to another one if that worker dies. A frame may be delivered twice: the
//! outcome that is recorded first counts.

mod contract;
mod held;
mod jetstream;
mod rows;
mod stuck_messages;
mod topology;
mod watcher;

pub use contract::{Claim, Queue, QueueError};
pub use jetstream::JetStreamQueue;
pub use rows::RowQueue;
