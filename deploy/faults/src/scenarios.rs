//! What a run does.

mod day;
mod kills;
mod mixed;

pub(crate) use self::{
    day::{OnFull, day},
    kills::kills,
    mixed::mixed,
};
