//! The policies of the configuration: when frames are removed, and when a camera raises an alarm.

use std::collections::BTreeMap;

use daemon::config::{ConfigError, within};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Section `retention`: frames are removed in the order of their arrival; a frame that waits for a decoder stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Age from arrival at which a frame is removed, in seconds; never when absent.
    pub max_age_s: Option<u64>,
    /// Maximum bytes of all frames' objects; no limit when absent.
    pub max_bytes: Option<u64>,
}

impl Retention {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for the first that is out of range.
    pub fn check(&self) -> Result<(), ConfigError> {
        if let Some(age) = self.max_age_s {
            within("retention.max_age_s", age, 1, 100 * 365 * 86_400)?;
        }
        if let Some(bytes) = self.max_bytes {
            within("retention.max_bytes", bytes, 1 << 20, 1 << 50)?;
        }
        Ok(())
    }
}

/// Section `analysis`: when a camera raises an alarm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Analysis {
    /// Time in seconds over which a camera's usual scene is learned. It should be longer than a day, so that night and
    /// day are both usual.
    pub memory_s: u64,
    /// Shortest time in seconds without a frame after which a camera counts as silent. It must also exceed three times
    /// the camera's longest usual time between two frames.
    pub silence_s: f64,
    /// Longest usual time between two frames of any camera, in seconds; learned for each camera when absent.
    pub interval_s: Option<f64>,
    /// Longest usual time for single cameras, by name.
    pub intervals_s: BTreeMap<String, f64>,
}

impl Default for Analysis {
    fn default() -> Self {
        Self {
            memory_s: 7 * 86_400,
            silence_s: 30.0,
            interval_s: None,
            intervals_s: BTreeMap::new(),
        }
    }
}

impl Analysis {
    /// Checks the ranges.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        within("analysis.memory_s", self.memory_s, 60, 10 * 365 * 86_400)?;
        for (key, seconds) in [("analysis.silence_s", self.silence_s)]
            .into_iter()
            .chain(self.interval_s.iter().map(|s| ("analysis.interval_s", *s)))
            .chain(
                self.intervals_s
                    .values()
                    .map(|s| ("analysis.intervals_s", *s)),
            )
        {
            if !(0.001..=31_536_000.0).contains(&seconds) {
                let reason = format!("is {seconds}, allowed are 0.001 to 31536000 seconds");
                return Err(ConfigError::Value { key, reason });
            }
        }
        Ok(())
    }
}
