//! `load`: many edge nodes in one process, with frames at random times.
//!
//! The load is open: the time at which a frame is due does not depend on how fast the cloud answers, and its latency
//! counts from then. So a cloud that falls behind does not get fewer frames ("coordinated omission"). The frames of all
//! nodes together are a Poisson process, each at a random node, so the frames of each node are one too.

mod arrivals;
mod heartbeat;
mod node;
mod pictures;
mod report;
mod stats;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Error, Result, ensure};
use daemon::{boot, error::one_line};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use latent::prior::Prior;
use patchwire_proto::v1::{Hello, Program};
use tokio::signal::ctrl_c;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uplink::{Client, Connection, Uplink, config::UplinkTls};

use crate::args::LoadArgs;
use crate::terminal;
use arrivals::Arrivals;
use node::Node;
use pictures::Picture;
use stats::Stats;

/// Open files besides the nodes' connections.
const OTHER_FILES: u64 = 64;
/// Nodes that connect at a time.
const CONNECTING: usize = 64;
/// Frames that wait at one node, for its window or for the cloud to come back; any beyond that are lost and counted.
const QUEUE: usize = 1024;
/// Longest wait for acks after the last frame.
const LAST_ACKS: Duration = Duration::from_secs(30);
/// Longest wait for a welcome, in seconds. An edge node waits for 5 s; thousands that connect from one machine may be
/// slow for want of its processor.
const CONNECT_TIMEOUT_S: u64 = 30;

/// `patchwire load`.
#[tokio::main]
pub(crate) async fn run(args: &LoadArgs) -> Result<()> {
    let files = boot::open_files().context("cannot raise the limit of open files")?;
    let needed = u64::from(args.nodes) + OTHER_FILES;
    ensure!(
        files >= needed,
        "{} nodes take {needed} open files, and this process may have {files} (`ulimit -Hn`)",
        args.nodes
    );
    let (width, height) = args.size;
    let (pictures, programs) = spawn_blocking(move || pictures::encode(width, height)).await??;
    let stats = Arc::new(Stats::default());
    let fleet = Fleet::new(args, pictures, programs, stats.clone())?;
    let (clients, queues) = fleet.connect(args.nodes).await?;
    stats.begin();

    let stop = CancellationToken::new();
    let mut running = JoinSet::new();
    for (client, connection) in clients {
        running.spawn(client.run(Some(connection), stop.clone()));
    }
    let begun = Instant::now();
    let arrivals = Arrivals::new(args.rate, args.seed, queues, stats.clone());
    tokio::select! {
        () = arrivals.run(Duration::from_secs(args.seconds)) => {}
        () = show(args.seconds) => {}
        interrupt = ctrl_c() => interrupt.context("cannot wait for ctrl-c")?,
    }
    let span = begun.elapsed();
    // No further frames are due, so each node ends with its last ack.
    let acked = async { while running.join_next().await.is_some() {} };
    tokio::select! {
        _ = timeout(LAST_ACKS, acked) => {}
        interrupt = ctrl_c() => interrupt.context("cannot wait for ctrl-c")?,
    }
    stop.cancel();
    running.shutdown().await;
    let figures = report::figures(args, span, &stats);
    terminal::report(args.json.as_deref(), &figures, &report::table(&figures))
}

type Clients = Vec<(Client<Node>, Connection)>;

/// The settings and pictures that all nodes share.
struct Fleet {
    config: Uplink,
    /// Folder of the nodes' tokens.
    tokens: Option<PathBuf>,
    pictures: Arc<[Picture]>,
    programs: Vec<Program>,
    prior: Arc<Prior>,
    stats: Arc<Stats>,
}

impl Fleet {
    fn new(
        args: &LoadArgs,
        pictures: Arc<[Picture]>,
        programs: Vec<Program>,
        stats: Arc<Stats>,
    ) -> Result<Self> {
        let config = Uplink {
            endpoint: args.cloud.clone(),
            tls: UplinkTls {
                ca: args.ca.clone(),
                cert: args.cert.clone(),
                key: args.key.clone(),
                server_name: None,
            },
            connect_timeout_s: CONNECT_TIMEOUT_S,
            ..Uplink::default()
        };
        let url = &args.cloud;
        config.address().with_context(|| {
            format!("{url:?} is not of the form http://HOST:PORT or https://HOST:PORT")
        })?;
        Ok(Self {
            config,
            tokens: args.tokens.clone(),
            pictures,
            programs,
            prior: Arc::new(Prior::from_bytes(patchwire_models::PRIOR)?),
            stats,
        })
    }

    /// Connects all nodes, some at a time, each until it is welcomed. Also returns the queue of each. An error is that
    /// of the first node that fails, by number.
    async fn connect(&self, count: u32) -> Result<(Clients, Vec<mpsc::Sender<Instant>>)> {
        let bar = terminal::bar(count.into(), "connecting");
        let connecting = stream::iter(1..=count).map(|number| {
            let bar = bar.clone();
            async move {
                let name = format!("load-{number}");
                let (client, queue) = self.node(&name)?;
                // The error's own words, without the chain of causes, which repeats them.
                let connected = client.connect().await;
                let connected = connected.map_err(|error| Error::msg(one_line(&error)));
                let connection = connected.with_context(|| {
                    format!("{name} of {count} nodes: {}", self.config.endpoint)
                })?;
                bar.inc(1);
                anyhow::Ok(((client, connection), queue))
            }
        });
        let connected: Vec<_> = connecting.buffered(CONNECTING).try_collect().await?;
        bar.finish_and_clear();
        Ok(connected.into_iter().unzip())
    }

    fn node(&self, name: &str) -> Result<(Client<Node>, mpsc::Sender<Instant>)> {
        let mut config = self.config.clone();
        let tokens = self.tokens.as_ref();
        config.token_file = tokens.map(|folder| folder.join(format!("{name}.token")));
        let hello = Hello {
            node_id: name.to_owned(),
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            program_ids: self.programs.iter().map(|p| p.id.clone()).collect(),
            programs: self.programs.clone(),
        };
        let (queue, due) = mpsc::channel(QUEUE);
        let bits_per_patch = self.programs.first().map_or(0, |first| first.latent_bits);
        let node = Node::new(
            name.to_owned(),
            self.pictures.clone(),
            bits_per_patch,
            Duration::from_secs(config.keepalive_s),
            self.prior.clone(),
            due,
            self.stats.clone(),
        );
        let hello = watch::Sender::new(hello).subscribe();
        Ok((Client::new(config, hello, Arc::new(node))?, queue))
    }
}

/// A progress bar of the seconds; never ends.
async fn show(seconds: u64) {
    let bar = terminal::bar(seconds, "seconds");
    for _ in 0..seconds {
        sleep(Duration::from_secs(1)).await;
        bar.inc(1);
    }
    bar.finish_and_clear();
    std::future::pending().await
}
