//! Maintenance: removes old frames, and repairs the effects of crashes and of faults of the disk.

mod adopt;
mod leader;
mod repair;
mod retention;

pub use adopt::{Adoptions, adopt};
pub(crate) use leader::Maintenance;
pub(crate) use repair::Repair;
pub(crate) use retention::{Remover, bounds};
