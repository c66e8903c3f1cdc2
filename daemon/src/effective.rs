//! Prints the configuration that a service runs with, key by key, with the origin of each value.

use std::io::{self, Write as _};

use schemars::{JsonSchema, schema_for};
use serde::Serialize;
use serde_json::Value as Json;

use crate::{
    origins::{Origins, joined},
    secrets,
};

/// Prints the configuration as a TOML file that reads back, with the origin of each value in a comment. Parts of
/// addresses that may be secret are left out.
///
/// # Errors
/// Standard output is closed.
pub fn print(config: &impl Serialize, origins: &Origins) -> anyhow::Result<()> {
    let mut text = String::new();
    let shown = secrets::hidden(&serde_json::to_value(config)?);
    section("", &shown, origins, &mut text);
    write!(io::stdout(), "{text}")?;
    Ok(())
}

/// Prints the JSON schema of a configuration file.
///
/// # Errors
/// Standard output is closed.
pub fn print_schema<C: JsonSchema>() -> anyhow::Result<()> {
    let schema = serde_json::to_string_pretty(&schema_for!(C))?;
    writeln!(io::stdout(), "{schema}")?;
    Ok(())
}

/// Values first, then tables, as TOML requires.
fn section(key: &str, value: &Json, origins: &Origins, text: &mut String) {
    let members = value.as_object().into_iter().flatten();
    let (tables, values): (Vec<_>, Vec<_>) = members.partition(|(_, value)| value.is_object());
    if !key.is_empty() && !values.is_empty() {
        text.push_str(&format!("\n[{key}]\n"));
    }
    for (name, value) in values {
        let origin = origins.of(&joined(key, name));
        match toml::Value::try_from(value) {
            Ok(value) => text.push_str(&format!("{name} = {value} # {origin}\n")),
            Err(_) => text.push_str(&format!("# {name} is not set\n")),
        }
    }
    for (name, value) in tables {
        section(&joined(key, name), value, origins, text);
    }
}
