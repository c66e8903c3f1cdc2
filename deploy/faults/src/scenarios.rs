//! What a run does.

mod kills;
mod mixed;

pub(crate) use self::{kills::kills, mixed::mixed};
