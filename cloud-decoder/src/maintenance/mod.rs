//! Maintenance: what removes old frames and mends what a crash or a mishap left.

mod adopt;
mod leader;
mod repair;
mod retention;

pub use adopt::{Adoptions, adopt};
pub(crate) use leader::Maintenance;
pub(crate) use repair::Repair;
pub(crate) use retention::{Remover, bounds};
