//! A service of a run, with what can be done to it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::{
    clock::Clock,
    disk::Disk,
    service::{Service, Settings},
};

pub(crate) const NODE_ID: &str = "EDGE_NODE_NODE_ID";
pub(crate) const TTL: &str = "EDGE_NODE_SPOOL__TTL_S";
/// File of an edge node's spool in its folder.
const SPOOL: &str = "spool.sqlite";

/// The role of a service.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    /// An edge node.
    Edge,
    /// A cloud decoder that does everything.
    Cloud,
    /// Cloud decoders in roles.
    Ingest,
    Decode,
    Web,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Cloud => "cloud",
            Self::Ingest => "ingest",
            Self::Decode => "decode",
            Self::Web => "web",
        }
    }

    /// Whether edge nodes call it.
    pub(crate) fn takes_frames(self) -> bool {
        matches!(self, Self::Cloud | Self::Ingest)
    }

    /// Whether it has the cloud's API.
    pub(crate) fn shows(self) -> bool {
        matches!(self, Self::Cloud | Self::Web)
    }
}

/// A service and its folder.
pub(crate) struct Place {
    pub(crate) kind: Kind,
    /// The edge node's name in the cloud; empty of others.
    pub(crate) node: String,
    pub(crate) service: Service,
    /// Seconds after which its spool gives frames up, of an edge node.
    pub(crate) ttl: Option<u64>,
    /// Used by edge nodes only.
    pub(crate) spool: PathBuf,
    /// `None` where the run fills no disks, or mounting is not allowed.
    pub(crate) disk: Option<Disk>,
    /// `None` where the run has right clocks, or libfaketime is not installed.
    pub(crate) clock: Option<Clock>,
}

impl Place {
    /// In `folder`, which is made; its log is beside it.
    pub(crate) fn make(
        kind: Kind,
        folder: &Path,
        binaries: &Path,
        mut settings: Settings,
    ) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let spool = folder.join(SPOOL);
        let (binary, own): (_, &[_]) = match kind {
            Kind::Edge => (
                "edge-node",
                &[
                    ("EDGE_NODE_HTTP__LISTEN", "127.0.0.1:0"),
                    ("EDGE_NODE_SPOOL__PATH", text(&spool)?),
                ],
            ),
            _ => (
                "cloud-decoder",
                &[
                    ("CLOUD_DECODER_HTTP__LISTEN", "127.0.0.1:0"),
                    ("CLOUD_DECODER_GRPC__LISTEN", "127.0.0.1:0"),
                    ("CLOUD_DECODER_DATA_DIR", text(folder)?),
                ],
            ),
        };
        settings.extend(owned(own));
        if !matches!(kind, Kind::Edge | Kind::Cloud) {
            settings.extend(owned(&[("CLOUD_DECODER_ROLE", kind.name())]));
        }
        let log = folder.with_extension("log");
        let ttl = settings.get(TTL).map(|seconds| seconds.parse());
        Ok(Self {
            kind,
            node: settings.get(NODE_ID).cloned().unwrap_or_default(),
            ttl: ttl.transpose()?,
            service: Service::new(binaries.join(binary), log, settings),
            spool,
            disk: None,
            clock: None,
        })
    }

    /// The same with a disk and a clock of its own, as far as this machine permits.
    pub(crate) fn make_breakable(
        kind: Kind,
        folder: &Path,
        binaries: &Path,
        settings: Settings,
    ) -> Result<Self> {
        let disk = Disk::mount(folder);
        if let Err(error) = &disk {
            println!("no full disks in this run: {error:#}");
        }
        Ok(Self {
            disk: disk.ok(),
            ..Self::make_with_clock(kind, folder, binaries, settings)?
        })
    }

    /// The same with a clock of its own alone.
    pub(crate) fn make_with_clock(
        kind: Kind,
        folder: &Path,
        binaries: &Path,
        mut settings: Settings,
    ) -> Result<Self> {
        let clock = Clock::new(&folder.with_extension("clock"))?;
        match &clock {
            Some(clock) => settings.extend(clock.environment()?),
            None => println!("no wrong clocks in this run: libfaketime is not installed"),
        }
        Ok(Self {
            clock,
            ..Self::make(kind, folder, binaries, settings)?
        })
    }
}

/// Settings of borrowed pairs.
pub(crate) fn owned(settings: &[(&str, &str)]) -> Settings {
    let settings = settings.iter();
    settings
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("temporary folders are UTF-8")
}
