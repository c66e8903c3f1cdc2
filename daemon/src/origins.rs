//! Origins of settings: where each value of a configuration came from.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use config::{File, FileFormat, Value, ValueKind};

/// The origin of a value.
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

/// The origin of each value, by its dotted key.
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

    /// Variables that look like settings and describe a neighbouring service.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// Warns of ignored variables in the log.
    pub fn warn(&self) {
        if !self.ignored.is_empty() {
            let variables = self.ignored.join(", ");
            tracing::warn!(
                variables,
                "ignored: these variables describe a neighbouring service and are not settings (in Kubernetes, enableServiceLinks: \
                 false keeps them away)"
            );
        }
    }

    /// Notes a variable that is not a setting.
    pub(crate) fn ignore(&mut self, name: String) {
        self.ignored.push(name);
        self.ignored.sort();
    }

    /// Notes every key of a file.
    pub(crate) fn file(&mut self, path: &Path) -> Result<(), config::ConfigError> {
        let source = File::from(path).format(FileFormat::Toml);
        let file = config::Config::builder().add_source(source).build()?;
        self.leaves("", &file.cache, &Origin::File(path.to_owned()));
        Ok(())
    }

    /// Notes a variable's key: the part after `PREFIX_` in lower case, with a dot for two underscores.
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

/// The dotted key of a name in a section.
pub(crate) fn joined(section: &str, name: &str) -> String {
    match section {
        "" => name.to_owned(),
        section => format!("{section}.{name}"),
    }
}
