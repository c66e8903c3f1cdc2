//! The task of a frame.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

daemon::label! {
    /// Task of a camera's frames.
    #[derive(Serialize, Deserialize, JsonSchema, ToSchema)]
    #[serde(rename_all = "lowercase")]
    pub Task as "task" {
        Compress = "compress",
        Classify = "classify",
        Both = "both",
    }
}

impl Task {
    /// Whether latents are made.
    pub fn compresses(self) -> bool {
        self != Self::Classify
    }

    /// Whether a label is made.
    pub fn classifies(self) -> bool {
        self != Self::Compress
    }
}
