//! Both services in this process, at ports and in a folder of their own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::args::Access;
use crate::edge::Edge;
use crate::watch::Watch;

/// A pair's settings that differ from the defaults.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    /// Decode with the fast decoder.
    pub(crate) fast: bool,
    /// Share of frames, 0 to 1, whose originals are sent along for measurement.
    pub(crate) originals_share: f64,
}

/// An edge node, the cloud decoder that it sends to, and clients of both.
pub(crate) struct Pair {
    pub(crate) edge: edge_node::Running,
    pub(crate) cloud: cloud_decoder::Running,
    /// Client of the edge node.
    pub(crate) node: Edge,
    /// Changes of frames at the cloud.
    pub(crate) watch: Watch,
    home: Home,
}

impl Pair {
    /// Starts both; their data are kept in `folder`, or else removed in the end.
    pub(crate) async fn start(
        folder: Option<PathBuf>,
        node_id: &str,
        settings: Settings,
    ) -> Result<Self> {
        let home = Home::open(folder)?;
        let cloud = cloud_decoder::start(home.cloud_config(settings))
            .await
            .context("the cloud decoder does not start")?;
        let edge = edge_node::start(home.edge_config(node_id, cloud.grpc_addr, settings))
            .await
            .context("the edge node does not start")?;
        Ok(Self {
            node: Edge::new(&format!("http://{}", edge.http_addr), &Access::default())?,
            watch: Watch::subscribe(cloud.grpc_addr).await?,
            edge,
            cloud,
            home,
        })
    }

    /// The folder of their data.
    pub(crate) fn data(&self) -> &Path {
        self.home.path()
    }

    /// Stops both.
    pub(crate) async fn shutdown(self) {
        self.edge.shutdown().await;
        self.cloud.shutdown().await;
    }
}

/// Where the services keep their data.
enum Home {
    /// Removed when the demo ends.
    Fresh(TempDir),
    Kept(PathBuf),
}

impl Home {
    fn open(folder: Option<PathBuf>) -> Result<Self> {
        let Some(folder) = folder else {
            let fresh = tempfile::Builder::new().prefix("patchwire-demo-").tempdir();
            return Ok(Self::Fresh(
                fresh.context("cannot make a temporary folder")?,
            ));
        };
        if folder.exists() && !folder.is_dir() {
            bail!("{} is not a folder", folder.display());
        }
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self::Kept(folder))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Fresh(folder) => folder.path(),
            Self::Kept(folder) => folder,
        }
    }

    fn cloud_config(&self, settings: Settings) -> cloud_decoder::Config {
        let mut config = cloud_decoder::Config::default();
        config.decode.fast = settings.fast;
        config.http.listen.set_port(0);
        config.grpc.listen.set_port(0);
        config.data_dir = self.path().join("cloud");
        config
    }

    fn edge_config(&self, node: &str, cloud: SocketAddr, settings: Settings) -> edge_node::Config {
        let mut config = edge_node::Config {
            node_id: node.to_owned(),
            originals_share: settings.originals_share,
            ..edge_node::Config::default()
        };
        config.http.listen.set_port(0);
        config.spool.path = self.path().join("edge.sqlite");
        config.uplink.endpoint = format!("http://{cloud}");
        config
    }
}
