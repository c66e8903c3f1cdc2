//! What a run does.

mod day;
mod kills;
mod mixed;
mod raids;
mod scaled;

pub(crate) use self::{
    day::{OnFull, day},
    kills::kills,
    mixed::mixed,
    scaled::{rolling, scaled},
};
