//! Metrics of alarms: how many were raised, and which stand.

use daemon::metrics::{Counters, counters, gauges};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

use super::labels::Kind;
use crate::alarm::{Alarm, AlarmKind};

/// An alarm that stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Standing {
    kind: &'static str,
    camera: String,
}

/// Most alarms that are told by camera; all are counted.
const MAX_TOLD: usize = 200;

/// Alarms.
pub(crate) struct Alarms {
    raised: Counters<Kind>,
    standing: Family<Kind, Gauge>,
    by_camera: Family<Standing, Gauge>,
}

impl Alarms {
    pub(super) fn register(r: &mut Registry) -> Self {
        let alarms = Self {
            raised: counters(r, "alarms_raised", "Alarms raised"),
            standing: gauges(r, "alarms", "Alarms that stand"),
            by_camera: {
                let family = Family::default();
                let help =
                    "1 for each alarm that stands, by camera, the first 200; 0 without a camera";
                r.register("alarm_standing", help, family.clone());
                family
            },
        };
        alarms.none_by_camera();
        alarms
    }

    /// Counts an alarm that was raised.
    pub(crate) fn raised(&self, kind: AlarmKind) {
        self.raised.get_or_create(&kind.into()).inc();
    }

    /// The series that are there without any alarm.
    fn none_by_camera(&self) {
        for kind in AlarmKind::ALL {
            let labels = Standing {
                kind: kind.name(),
                camera: String::new(),
            };
            drop(self.by_camera.get_or_create(&labels));
        }
    }

    /// Tells which alarms stand now.
    pub(crate) fn set_standing(&self, alarms: &[Alarm]) {
        for kind in AlarmKind::ALL {
            let count = alarms.iter().filter(|alarm| alarm.kind == kind).count();
            self.standing.get_or_create(&kind.into()).set(count as i64);
        }
        self.by_camera.clear();
        self.none_by_camera();
        for alarm in alarms.iter().take(MAX_TOLD) {
            let labels = Standing {
                kind: alarm.kind.name(),
                camera: alarm.camera.clone(),
            };
            self.by_camera.get_or_create(&labels).set(1);
        }
    }
}
