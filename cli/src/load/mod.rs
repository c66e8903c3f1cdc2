//! `load`: many edge nodes in one process, whose frames come when they come.
//!
//! The load is open: when a frame is due does not depend on how fast the cloud answers, and its latency counts from
//! then, so that a cloud which falls behind is not asked less ("coordinated omission"). Frames of all nodes together
//! are a Poisson process, each of a node by chance, so those of each node are one too.

mod arrivals;
mod cloud;
mod node;
mod pictures;
mod pulse;
mod report;
mod tally;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use daemon::boot;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::signal::ctrl_c;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::args::LoadArgs;
use crate::terminal;
use arrivals::Arrivals;
use cloud::Cloud;
use node::Node;
use tally::Tally;

/// Open files besides the nodes' connections.
const OTHER_FILES: u64 = 64;
/// Nodes that connect at a time.
const CONNECTING: usize = 64;
/// Frames that wait at one node, for its window or for the cloud to come back; further ones are counted as lost.
const SPOOL: usize = 1024;
/// Longest that acks are waited for after the last frame.
const LAST_ACKS: Duration = Duration::from_secs(30);

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
    let tally = Arc::new(Tally::default());
    let cloud = Arc::new(Cloud::new(args, programs, tally.clone()).await?);
    let mut nodes = connect(args.nodes, &cloud).await?;
    tally.begin();

    let stop = CancellationToken::new();
    let mut running = JoinSet::new();
    let mut spools = Vec::with_capacity(nodes.len());
    for (node, link) in nodes.drain(..) {
        let (spool, due) = mpsc::channel(SPOOL);
        spools.push(spool);
        let node = Node::new(node, cloud.clone(), pictures.clone(), due);
        let running_node = node.run(link);
        running.spawn(stop.clone().run_until_cancelled_owned(running_node));
    }
    let begun = Instant::now();
    let arrivals = Arrivals::new(args.rate, args.seed, spools, tally.clone());
    tokio::select! {
        () = arrivals.run(Duration::from_secs(args.seconds)) => {}
        () = show(args.seconds) => {}
        interrupt = ctrl_c() => interrupt.context("cannot wait for ctrl-c")?,
    }
    let span = begun.elapsed();
    // The nodes have no more to come, and end once all is acknowledged.
    let acked = async { while running.join_next().await.is_some() {} };
    tokio::select! {
        _ = timeout(LAST_ACKS, acked) => {}
        interrupt = ctrl_c() => interrupt.context("cannot wait for ctrl-c")?,
    }
    stop.cancel();
    running.shutdown().await;
    let figures = report::figures(args, span, &tally);
    terminal::report(args.json.as_deref(), &figures, &report::table(&figures))
}

/// Connects all nodes, some at a time, each until it is welcomed.
async fn connect(count: u32, cloud: &Arc<Cloud>) -> Result<Vec<(String, cloud::Link)>> {
    let bar = terminal::bar(count.into(), "connecting");
    let connected = stream::iter(1..=count).map(|number| {
        let (cloud, bar) = (cloud.clone(), bar.clone());
        async move {
            let node = format!("load-{number}");
            let link = cloud.call(&node).await;
            let link =
                link.with_context(|| format!("{node} of {count} nodes: {}", cloud.address()))?;
            bar.inc(1);
            anyhow::Ok((node, link))
        }
    });
    let nodes = connected.buffer_unordered(CONNECTING).try_collect().await;
    bar.finish_and_clear();
    nodes
}

/// A bar of the seconds; never ends.
async fn show(seconds: u64) {
    let bar = terminal::bar(seconds, "seconds");
    for _ in 0..seconds {
        sleep(Duration::from_secs(1)).await;
        bar.inc(1);
    }
    bar.finish_and_clear();
    std::future::pending().await
}
