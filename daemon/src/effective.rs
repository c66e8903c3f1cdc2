//! The configuration that a service runs with, key by key, and where each value came from.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use config::{File, FileFormat, Value, ValueKind};
use schemars::{JsonSchema, schema_for};
use serde::Serialize;
use serde_json::Value as Json;

use crate::{config::ConfigError, secrets};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// A file of settings.
    File(PathBuf),
    /// An environment variable of this name.
    Environment(String),
    /// The command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// Where each value came from, by its dotted key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    keys: BTreeMap<String, Origin>,
    ignored: Vec<String>,
}

impl Origins {
    /// The origin of a key's value.
    pub fn of(&self, key: &str) -> &Origin {
        self.keys.get(key).unwrap_or(&Origin::Default)
    }

    /// The origin of a value whose key is this word or ends with it.
    pub(crate) fn of_word(&self, word: &str) -> Option<Origin> {
        let mut keys = self.keys.iter();
        let found = keys.find(|(key, _)| key.rsplit('.').next() == Some(word));
        found.map(|(_, origin)| origin.clone())
    }

    /// Variables that look like settings and tell of a service beside this one.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// Warns of these in the log.
    pub fn warn(&self) {
        if !self.ignored.is_empty() {
            let variables = self.ignored.join(", ");
            tracing::warn!(
                variables,
                "ignored: these variables tell of a service beside this one and are no settings (in Kubernetes, enableServiceLinks: \
                 false keeps them away)"
            );
        }
    }

    /// Notes a variable that is no setting.
    pub(crate) fn ignore(&mut self, name: String) {
        self.ignored.push(name);
        self.ignored.sort();
    }

    /// Notes every key of a file.
    pub(crate) fn file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let source = File::from(path).format(FileFormat::Toml);
        let file = config::Config::builder().add_source(source).build()?;
        self.leaves("", &file.cache, &Origin::File(path.to_owned()));
        Ok(())
    }

    /// Notes a variable's key, which is what follows `PREFIX_` in lower case with dots for two underscores.
    pub(crate) fn variable(&mut self, prefix: &str, name: &str) {
        let lower = name.to_lowercase();
        let prefix = format!("{}_", prefix.to_lowercase());
        if let Some(key) = lower.strip_prefix(&prefix) {
            let origin = Origin::Environment(name.to_owned());
            self.keys.insert(key.replace("__", "."), origin);
        }
    }

    /// Notes a flag's key.
    pub(crate) fn flag(&mut self, key: &str) {
        self.keys.insert(key.to_lowercase(), Origin::Flag);
    }

    fn leaves(&mut self, key: &str, value: &Value, origin: &Origin) {
        let ValueKind::Table(table) = &value.kind else {
            self.keys.insert(key.to_owned(), origin.clone());
            return;
        };
        for (name, value) in table {
            self.leaves(&joined(key, name), value, origin);
        }
    }
}

/// Prints the configuration as a TOML file that gives it again, with each value's origin behind it. What may be
/// secret in addresses is left out of it.
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

/// Values first, then tables, as TOML wants it.
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

fn joined(section: &str, name: &str) -> String {
    match section {
        "" => name.to_owned(),
        section => format!("{section}.{name}"),
    }
}
