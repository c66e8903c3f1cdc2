//! The scenarios of a run.

mod copies;
mod day;
mod fleet_faults;
mod kills;
mod mixed;
mod restore;
mod scaled;

pub(crate) use self::{
    day::{OnFull, day},
    kills::kills,
    mixed::mixed,
    restore::restore,
    scaled::{rolling, scaled},
};
