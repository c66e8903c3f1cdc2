//! Section `sources` of the configuration.

use std::{fmt, path::PathBuf};

use daemon::{
    config::{ConfigError, rate_within, wrong},
    secrets::hide,
};
use patchwire_proto::limits::check_id;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::task::Task;

/// Most sources of a node.
const MAX_SOURCES: usize = 64;

/// A place that the node fetches frames from: a folder or the address of a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Source {
    /// Name of the camera, different for each source: 1 to 64 characters of `[A-Za-z0-9._-]`.
    pub camera: String,
    /// Task of its frames.
    pub task: Task,
    /// Folder whose images are taken, each of them once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// Address of a stream: motion JPEG at `http://` or `https://`, any format of ffmpeg at `rtsp://` or `rtsps://`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Maximum frames per second; as many as the node can encode when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// File with `USER:PASSWORD` for the address, read at each connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login_file: Option<PathBuf>,
    /// CA certificates (PEM) that verify an `https://` address; the system's when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            camera: String::new(),
            task: Task::Compress,
            folder: None,
            url: None,
            rate: None,
            login_file: None,
            ca: None,
        }
    }
}

/// The address of a source. Its text, for status and log, has no secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Address<'a> {
    Folder(&'a PathBuf),
    Mjpeg(&'a str),
    Rtsp(&'a str),
}

impl fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.display().fmt(f),
            Self::Mjpeg(url) | Self::Rtsp(url) => f.write_str(&hide(url)),
        }
    }
}

impl Source {
    /// The folder or address; `None` unless the source has exactly one, of a known scheme.
    pub(crate) fn address(&self) -> Option<Address<'_>> {
        let scheme = |url: &str| url.split_once("://").map(|(s, _)| s.to_ascii_lowercase());
        match (&self.folder, self.url.as_deref()) {
            (Some(folder), None) => Some(Address::Folder(folder)),
            (None, Some(url)) => match scheme(url)?.as_str() {
                "http" | "https" => Some(Address::Mjpeg(url)),
                "rtsp" | "rtsps" => Some(Address::Rtsp(url)),
                _ => None,
            },
            _ => None,
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        check_id("camera", &self.camera).map_err(|_| {
            wrong(
                "sources.camera",
                &self.camera,
                "1 to 64 characters of A-Z a-z 0-9 . _ -",
            )
        })?;
        let value = |reason: String| {
            let reason = format!("of camera {:?} {reason}", self.camera);
            Err(ConfigError::Value {
                key: "sources",
                reason,
            })
        };
        if self.address().is_none() {
            return value(
                "must have either a folder or a url that begins with http://, https://, rtsp:// or rtsps://".into(),
            );
        }
        if let Some(url) = &self.url {
            let behind = url.split_once("://").map_or("", |(_, behind)| behind);
            if behind.is_empty() || behind.starts_with(['/', '?', '#', ':']) {
                return value(format!("has the url {:?}, which names no host", hide(url)));
            }
            let parsed = match reqwest::Url::parse(url) {
                Ok(parsed) => parsed,
                Err(error) => return value(format!("has the url {:?}: {error}", hide(url))),
            };
            if !parsed.username().is_empty() || parsed.password().is_some() {
                return value(
                    "has a login in its url; put it into a file and name that with login_file"
                        .into(),
                );
            }
        }
        if self.url.is_none() && self.login_file.is_some() {
            return value("has a login_file, which is for a url".into());
        }
        let https = self
            .url
            .as_ref()
            .is_some_and(|url| url.to_ascii_lowercase().starts_with("https://"));
        if !https && self.ca.is_some() {
            return value("has a ca, which is for a url that begins with https://".into());
        }
        self.rate
            .map_or(Ok(()), |rate| rate_within("sources.rate", rate))
    }
}

/// Checks all sources of a node.
///
/// # Errors
/// [`ConfigError::Value`] with the first that is wrong.
pub(super) fn check(sources: &[Source]) -> Result<(), ConfigError> {
    let reason = |reason: String| {
        Err(ConfigError::Value {
            key: "sources",
            reason,
        })
    };
    if sources.len() > MAX_SOURCES {
        return reason(format!(
            "are {}, at most {MAX_SOURCES} are allowed",
            sources.len()
        ));
    }
    for (index, source) in sources.iter().enumerate() {
        source.check()?;
        if sources[..index]
            .iter()
            .any(|before| before.camera == source.camera)
        {
            return reason(format!("name the camera {:?} twice", source.camera));
        }
    }
    Ok(())
}
