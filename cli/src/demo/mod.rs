//! `demo`: both services in this process, sample photographs as cameras, results as they come back.

mod feed;
mod pass;

pub(crate) use feed::samples;

use std::time::Duration;

use anyhow::{Context, Result};
use tracing_subscriber::EnvFilter;

use crate::args::DemoArgs;
use crate::edge::Edge;
use crate::pair::{Pair, Settings};
use crate::terminal::out;
use crate::watch::Watch;
use pass::Pass;

/// Time between two frames once the first pass is over.
const PAUSE: Duration = Duration::from_secs(5);

/// `patchwire demo`.
#[tokio::main]
pub(crate) async fn run(args: DemoArgs) -> Result<()> {
    // The services' log lines would break up the table, so only warnings are shown.
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("warn"))
        .with_writer(std::io::stderr)
        .init();
    let shots = feed::shots(args.frames.as_deref())?;
    let settings = Settings {
        fast: args.fast,
        originals_share: 1.0,
    };
    let mut pair = Pair::start(args.data, "demo", settings).await?;
    out(format_args!("dashboard  http://{}/", pair.cloud.http_addr))?;
    out(format_args!(
        "edge node  http://{}/v1/frames",
        pair.edge.http_addr
    ))?;
    out(format_args!("data       {}\n", pair.data().display()))?;

    let outcome = tokio::select! {
        outcome = replay(&pair.node, &mut pair.watch, &shots, args.once) => outcome,
        interrupt = tokio::signal::ctrl_c() => {
            interrupt.context("cannot wait for ctrl-c")?;
            if args.once { Err(anyhow::anyhow!("interrupted")) } else { Ok(()) }
        }
    };
    pair.shutdown().await;
    outcome
}

async fn replay(edge: &Edge, watch: &mut Watch, shots: &[feed::Shot], once: bool) -> Result<()> {
    pass::print_header()?;
    let first = Pass::run(edge, watch, shots, Duration::ZERO).await?;
    first.print_summary()?;
    if once {
        return first.verdict();
    }
    out(format_args!(
        "A frame every {} s from now on; Ctrl-C ends the demo.",
        PAUSE.as_secs()
    ))?;
    loop {
        Pass::run(edge, watch, shots, PAUSE).await?;
    }
}
