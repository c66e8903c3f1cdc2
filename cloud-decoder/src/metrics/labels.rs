//! Labels of metrics.

use daemon::label;

use crate::alarm::AlarmKind;

label! {
    /// The answer to a frame that a node sent.
    pub(crate) Outcome as "outcome" {
        Accepted = "accepted",
        Duplicate = "duplicate",
        Rejected = "rejected",
    }
}

label! {
    /// Calls of the object store.
    pub(crate) ObjectCall as "operation" {
        Put = "put",
        Get = "get",
        Stat = "stat",
        Delete = "delete",
    }
}

label! {
    /// Calls of the catalogue. In SQLite one connection writes, so that writes wait for each other.
    pub(crate) DatabaseCall as "access" {
        Read = "read",
        Write = "write",
    }
}

label! {
    /// Kinds of alarms.
    pub(crate) Kind as "kind" {
        Drift = "drift",
        Silent = "silent",
    }
}

impl From<AlarmKind> for Kind {
    fn from(kind: AlarmKind) -> Self {
        match kind {
            AlarmKind::Drift => Self::Drift,
            AlarmKind::Silent => Self::Silent,
        }
    }
}
