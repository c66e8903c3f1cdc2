//! Watches cameras by the frames they send: whether the scene has changed, whether frames still come.

mod drift;
mod json;
mod rhythm;
pub(crate) mod scene;
#[cfg(test)]
mod street;
mod watch;

pub(crate) use json::DriftJson;
pub(crate) use watch::Watch;
