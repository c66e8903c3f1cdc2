//! Checks of single numbers.

use crate::error::{Field, ProgramError};

/// Checks a number of the program's header.
pub(crate) fn header(
    name: &'static str,
    found: usize,
    fits: bool,
    allowed: &str,
) -> Result<(), ProgramError> {
    let refused = || ProgramError::Value {
        field: Field { layer: None, name },
        found: found as i64,
        allowed: allowed.to_owned(),
    };
    if fits { Ok(()) } else { Err(refused()) }
}

/// Checks a number of a layer.
pub(crate) fn value(
    layer: usize,
    name: &'static str,
    found: impl TryInto<i64>,
    fits: bool,
    allowed: impl FnOnce() -> String,
) -> Result<(), ProgramError> {
    if fits {
        return Ok(());
    }
    let found = found.try_into().unwrap_or(i64::MAX);
    Err(ProgramError::Value {
        field: Field {
            layer: Some(layer),
            name,
        },
        found,
        allowed: allowed(),
    })
}
