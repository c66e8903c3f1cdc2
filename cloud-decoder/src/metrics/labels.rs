//! Labels of metrics.

use daemon::{label, metrics::Metric};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::{
    alarm::{Alarm, AlarmKind},
    frame::Travelled,
};

label! {
    /// The answer to a frame that a node sent.
    pub(crate) Outcome as "outcome" {
        Accepted = "accepted",
        Duplicate = "duplicate",
        Rejected = "rejected",
    }
}

label! {
    /// How a frame's latents travelled: as a container, coded alone, or coded with a reference.
    pub(crate) TravelledAs as "travelled" {
        Plain = "plain",
        Intra = "intra",
        Reference = "reference",
    }
}

impl From<Travelled> for TravelledAs {
    fn from(travelled: Travelled) -> Self {
        match travelled {
            Travelled::Plain => Self::Plain,
            Travelled::Intra => Self::Intra,
            Travelled::Reference => Self::Reference,
        }
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
    /// Calls of the catalogue. In SQLite one connection writes, so writes wait for each other.
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

/// An ongoing alarm.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Standing {
    kind: &'static str,
    camera: String,
}

/// Most alarms that are exported per camera; all are counted.
const MAX_TOLD: usize = 200;

/// The ongoing alarms, by camera.
#[derive(Clone)]
pub(crate) struct StandingAlarms(Family<Standing, Gauge>);

impl StandingAlarms {
    /// Exports these alarms and no others.
    pub(super) fn show(&self, alarms: &[Alarm]) {
        self.0.clear();
        // The series that exist without any alarm.
        let none = AlarmKind::ALL.map(|kind| (kind, "", 0));
        let standing = alarms.iter().take(MAX_TOLD);
        let standing = standing.map(|alarm| (alarm.kind, alarm.camera.as_str(), 1));
        for (kind, camera, value) in none.into_iter().chain(standing) {
            let labels = Standing {
                kind: kind.name(),
                camera: camera.to_owned(),
            };
            self.0.get_or_create(&labels).set(value);
        }
    }
}

impl Metric for StandingAlarms {
    fn register(registry: &mut Registry, name: &str, help: &str) -> Self {
        let alarms = Self(Family::default());
        registry.register(name, help, alarms.0.clone());
        alarms.show(&[]);
        alarms
    }
}
