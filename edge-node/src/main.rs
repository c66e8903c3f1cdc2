//! The `edge-node` binary: parse, check, start, wait, drain.
#![forbid(unsafe_code)]

mod spool_commands;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use daemon::{
    boot::{self, Signals, key_value},
    config::ConfigError,
    effective::Origins,
};
use edge_node::Config;

/// Takes camera frames over HTTP, encodes them on the emulated ASIC, sends them to the cloud.
///
/// Settings come from the file, then from EDGE_NODE_* variables (EDGE_NODE_UPLINK__ENDPOINT), then
/// from flags.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// TOML file; edge-node.example.toml lists every key
    #[arg(long, global = true, env = "EDGE_NODE_CONFIG", value_name = "FILE", value_parser = boot::path())]
    config: Option<PathBuf>,
    /// Name of this node (node_id)
    #[arg(long, global = true, value_name = "ID")]
    node_id: Option<String>,
    /// Address to bind (http.listen); port 0 takes a free one
    #[arg(long, global = true, value_name = "ADDR")]
    http_listen: Option<String>,
    /// The cloud decoder's gRPC address (uplink.endpoint)
    #[arg(long, global = true, value_name = "URL")]
    endpoint: Option<String>,
    /// SQLite file of the spool (spool.path)
    #[arg(long, global = true, value_name = "FILE")]
    spool: Option<String>,
    /// Any other key, for example --set originals_share=1
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Service(boot::Command),
    /// Look into the spool, take frames out of it by hand, or drop them
    Spool {
        #[command(subcommand)]
        action: spool_commands::Action,
    },
}

fn main() -> ExitCode {
    boot::main(
        Args::config,
        |(config, _)| (&config.log, &config.trace),
        |command, (config, origins)| match command {
            None => {
                origins.warn();
                boot::block_on(serve(config))
            }
            Some(Command::Service(command)) => {
                let (listen, tls) = (config.http.listen, config.tls.on());
                command.run(&config, &origins, listen, tls, &edge_node::TOKENS)
            }
            Some(Command::Spool { action }) => spool_commands::run(action, &config.spool),
        },
    )
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let mut signals = Signals::catch()?;
    let Some(node) = signals.or_start(edge_node::start(config)).await? else {
        return Ok(());
    };
    writeln!(io::stdout(), "listening http={}", node.http_addr)?;
    let ended = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "shutting down");
            Ok(())
        }
        error = node.ended() => Err(error),
    };
    signals.or_shut_down(node.shutdown()).await?;
    ended
}

impl Args {
    fn config(self) -> Result<(Option<Command>, (Config, Origins)), ConfigError> {
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
        let file = self.config.as_deref();
        let file = file.filter(|file| !file.as_os_str().is_empty());
        let config = Config::load_with_origins(file, boot::environment(), &flags)?;
        Ok((self.command, config))
    }
}
