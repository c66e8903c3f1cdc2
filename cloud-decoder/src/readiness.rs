//! Whether the process can do the work of its role.

/// Readiness, as the probes tell it.
#[derive(Clone, Debug)]
pub(crate) enum Readiness {
    WarmingUp,
    Ready,
    Broken(String),
}
