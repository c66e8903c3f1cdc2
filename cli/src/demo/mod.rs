//! `demo`: both services in this process, sample photographs as cameras, results as they come back.

mod feed;
mod pass;
mod watch;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tracing_subscriber::EnvFilter;

use crate::args::DemoArgs;
use crate::edge::Edge;
use crate::terminal::out;
use pass::Pass;
use watch::Watch;

/// Time between two frames once the first pass is over.
const PAUSE: Duration = Duration::from_secs(5);

/// `patchwire demo`.
#[tokio::main]
pub(crate) async fn run(args: DemoArgs) -> Result<()> {
    // What the services log would tear the table apart; only trouble is shown.
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("warn"))
        .with_writer(std::io::stderr)
        .init();
    let shots = feed::shots(args.frames.as_deref())?;
    let home = Home::open(args.data)?;

    let cloud = cloud_decoder::start(home.cloud_config())
        .await
        .context("the cloud decoder does not start")?;
    let edge = edge_node::start(home.edge_config(cloud.grpc_addr))
        .await
        .context("the edge node does not start")?;
    out(format_args!("dashboard  http://{}/", cloud.http_addr))?;
    out(format_args!(
        "edge node  http://{}/v1/frames",
        edge.http_addr
    ))?;
    out(format_args!("data       {}\n", home.path().display()))?;

    let node = Edge::new(&format!("http://{}", edge.http_addr))?;
    let watch = Watch::subscribe(cloud.grpc_addr).await?;
    let outcome = tokio::select! {
        outcome = replay(&node, watch, &shots, args.once) => outcome,
        interrupt = tokio::signal::ctrl_c() => {
            interrupt.context("cannot wait for ctrl-c")?;
            if args.once { Err(anyhow::anyhow!("interrupted")) } else { Ok(()) }
        }
    };
    edge.shutdown().await;
    cloud.shutdown().await;
    outcome
}

async fn replay(edge: &Edge, mut watch: Watch, shots: &[feed::Shot], once: bool) -> Result<()> {
    pass::print_header()?;
    let first = Pass::run(edge, &mut watch, shots, Duration::ZERO).await?;
    first.print_summary()?;
    if once {
        return first.verdict();
    }
    out(format_args!(
        "A frame every {} s from now on; Ctrl-C ends the demo.",
        PAUSE.as_secs()
    ))?;
    loop {
        Pass::run(edge, &mut watch, shots, PAUSE).await?;
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

    fn cloud_config(&self) -> cloud_decoder::Config {
        let mut config = cloud_decoder::Config::default();
        config.http.listen.set_port(0);
        config.grpc.listen.set_port(0);
        config.data_dir = self.path().join("cloud");
        config
    }

    fn edge_config(&self, cloud: std::net::SocketAddr) -> edge_node::Config {
        let mut config = edge_node::Config {
            node_id: "demo".to_owned(),
            originals_share: 1.0,
            ..edge_node::Config::default()
        };
        config.http.listen.set_port(0);
        config.spool.path = self.path().join("edge.sqlite");
        config.uplink.endpoint = format!("http://{cloud}");
        config
    }
}
