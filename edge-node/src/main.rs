//! The `edge-node` binary.
#![forbid(unsafe_code)]

mod spool_commands;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use daemon::{
    boot::{self, key_value},
    config::ConfigError,
    origins::Origins,
};
use edge_node::{Config, Running};

/// Accepts camera frames over HTTP, encodes them on the emulated ASIC, sends them to the cloud.
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
                boot::block_on(boot::serve(
                    edge_node::start(config),
                    |node| format!("http={}", node.http_addr),
                    async |node| node.ended().await,
                    Running::shutdown,
                ))
            }
            Some(Command::Service(command)) => {
                let (listen, tls) = (config.http.listen, config.tls.on());
                command.run(&config, &origins, listen, tls, &edge_node::TOKENS)
            }
            Some(Command::Spool { action }) => spool_commands::run(action, &config.spool),
        },
    )
}

impl Args {
    fn config(self) -> Result<(Option<Command>, (Config, Origins)), ConfigError> {
        let named = [
            ("node_id", self.node_id),
            ("http.listen", self.http_listen),
            ("uplink.endpoint", self.endpoint),
            ("spool.path", self.spool),
        ];
        let flags = boot::flags(self.set, named);
        let file = boot::non_empty(self.config.as_deref());
        let config = Config::load_with_origins(file, boot::environment(), flags)?;
        Ok((self.command, config))
    }
}
