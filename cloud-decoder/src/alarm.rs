//! Alarms about cameras.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Kinds of alarms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AlarmKind {
    /// The scene has changed.
    Drift,
    /// No frame has come for longer than usual.
    Silent,
}

impl AlarmKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Drift, Self::Silent];

    /// Its name in the catalogue and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drift => "drift",
            Self::Silent => "silent",
        }
    }
}

/// Something about a camera that a person should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Alarm {
    /// Counts up.
    pub id: i64,
    /// Its kind.
    pub kind: AlarmKind,
    /// The camera.
    pub camera: String,
    /// Since when, milliseconds since the Unix epoch.
    pub begin_ms: i64,
    /// Until when; null while it stands.
    pub end_ms: Option<i64>,
    /// When somebody acknowledged it.
    pub acknowledged_ms: Option<i64>,
    /// Who did: the name of the token, or "anonymous" where none is needed.
    pub acknowledged_by: Option<String>,
    /// One sentence.
    pub sentence: String,
}
