//! Watches cameras by their frames: whether the scene has changed, and whether frames still come.

mod compare;
mod drift;
mod json;
mod rhythm;
pub(crate) mod scene;
#[cfg(test)]
mod street;
mod watch;

pub(crate) use compare::{CompareError, Comparisons, MAX_COMPARED_PIXELS, Picture};
pub(crate) use json::DriftJson;
pub(crate) use watch::Watch;
