//! Checks of the numbers in a description.

use crate::error::ModelError;
use crate::limits::MAX_CHANNELS;
use crate::shape::Shape;

/// Checks the numbers of one stage and names the stage in errors. Each check gives the number back.
pub(crate) struct Checks<'a> {
    /// Position, kind and name of the stage.
    pub(crate) stage: &'a str,
}

impl Checks<'_> {
    pub(crate) fn field(
        &self,
        field: &'static str,
        found: usize,
        ok: bool,
        allowed: impl FnOnce() -> String,
    ) -> Result<usize, ModelError> {
        if ok {
            return Ok(found);
        }
        Err(ModelError::Field {
            stage: self.stage.to_owned(),
            field,
            found,
            allowed: allowed(),
        })
    }

    pub(crate) fn channels(&self, field: &'static str, found: usize) -> Result<usize, ModelError> {
        self.field(field, found, (1..=MAX_CHANNELS).contains(&found), || {
            format!("1 to {MAX_CHANNELS}")
        })
    }

    pub(crate) fn kernel(&self, found: usize) -> Result<usize, ModelError> {
        self.field("kernel", found, [1, 3, 5].contains(&found), || {
            "1, 3 or 5".into()
        })
    }

    /// A number that must be the input's channels.
    pub(crate) fn chained(
        &self,
        field: &'static str,
        found: usize,
        input: Shape,
    ) -> Result<usize, ModelError> {
        self.field(field, found, found == input.channels, || {
            format!("{}, the channels of the stage before", input.channels)
        })
    }
}
