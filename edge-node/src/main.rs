//! The `edge-node` binary: parse, check, start, wait, drain.
#![forbid(unsafe_code)]

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use edge_node::{
    Config,
    config::{Log, LogFormat},
};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Exit status for a configuration that cannot be used (`EX_USAGE` of sysexits.h).
const EX_USAGE: u8 = 64;

/// Takes camera frames over HTTP, encodes them on the emulated ASIC, sends them to the cloud.
///
/// Settings come from the file, then from EDGE_NODE_* variables (EDGE_NODE_UPLINK__ENDPOINT), then
/// from flags.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// TOML file; edge-node.example.toml lists every key
    #[arg(long, env = "EDGE_NODE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Name of this node (node_id)
    #[arg(long, value_name = "ID")]
    node_id: Option<String>,
    /// Address to bind (http.listen); port 0 takes a free one
    #[arg(long, value_name = "ADDR")]
    http_listen: Option<String>,
    /// The cloud decoder's gRPC address (uplink.endpoint)
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// SQLite file of the spool (spool.path)
    #[arg(long, value_name = "FILE")]
    spool: Option<String>,
    /// Any other key, for example --set originals_share=1
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(told) => {
            let code = if told.use_stderr() { EX_USAGE } else { 0 };
            return if told.print().is_ok() {
                code.into()
            } else {
                ExitCode::FAILURE
            };
        }
    };
    let config = match args.config() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("edge-node: {error}");
            return EX_USAGE.into();
        }
    };
    if let Err(error) = init_log(&config.log) {
        eprintln!("edge-node: log.filter: {error}");
        return EX_USAGE.into();
    }
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("edge-node: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let node = edge_node::start(config).await?;
    writeln!(io::stdout(), "listening http={}", node.http_addr)?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    tracing::info!("shutting down");
    node.shutdown().await;
    Ok(())
}

impl Args {
    fn config(self) -> Result<Config, edge_node::ConfigError> {
        let named = [
            ("node_id", self.node_id),
            ("http.listen", self.http_listen),
            ("uplink.endpoint", self.endpoint),
            ("spool.path", self.spool),
        ];
        let named = named
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)));
        let flags: Vec<_> = self.set.into_iter().chain(named).collect();
        Config::load(self.config.as_deref(), std::env::vars(), &flags)
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn init_log(log: &Log) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::try_new(&log.filter)?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match log.format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
    Ok(())
}
