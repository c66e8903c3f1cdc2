//! The `cloud-decoder` binary: parse, check, start, wait, drain.
#![forbid(unsafe_code)]

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use cloud_decoder::{Adoptions, Config};
use daemon::{
    boot::{self, Command, Signals, key_value},
    config::ConfigError,
    effective::Origins,
};

/// Takes encoded frames from edge nodes, rebuilds and measures them, shows them.
///
/// Settings come from the file, then from CLOUD_DECODER_* variables (CLOUD_DECODER_HTTP__LISTEN),
/// then from flags.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Option<CloudCommand>,
    /// TOML file; cloud-decoder.example.toml lists every key
    #[arg(long, global = true, env = "CLOUD_DECODER_CONFIG", value_name = "FILE", value_parser = boot::path())]
    config: Option<PathBuf>,
    /// Address of dashboard and HTTP API (http.listen); port 0 takes a free one
    #[arg(long, global = true, value_name = "ADDR")]
    http_listen: Option<String>,
    /// Address of the gRPC services (grpc.listen); port 0 takes a free one
    #[arg(long, global = true, value_name = "ADDR")]
    grpc_listen: Option<String>,
    /// Folder of catalogue and objects (data_dir)
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
    /// Decoder weights (.safetensors) in place of the embedded ones (decoder)
    #[arg(long, global = true, value_name = "FILE")]
    decoder: Option<String>,
    /// Any other key, for example --set decode.workers=2
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
}

#[derive(Subcommand)]
enum CloudCommand {
    #[command(flatten)]
    Service(Command),
    /// Give frames their rows again whose objects are there, in a catalogue that is new or was restored from a backup
    Adopt,
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
            Some(CloudCommand::Adopt) => boot::block_on(adopt(config)),
            Some(CloudCommand::Service(command)) => {
                let (listen, tls) = (config.http.listen, config.tls.on());
                command.run(&config, &origins, listen, tls, &cloud_decoder::TOKENS)
            }
        },
    )
}

async fn adopt(config: Config) -> anyhow::Result<()> {
    let done = cloud_decoder::adopt(&config).await?;
    let Adoptions {
        frames,
        adopted,
        set_aside,
    } = done;
    let told = format!(
        "{frames} frames in the objects: {adopted} have their rows again, {set_aside} are set aside"
    );
    writeln!(io::stdout(), "{told}")?;
    Ok(())
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let mut signals = Signals::catch()?;
    let Some(mut cloud) = signals.or_start(cloud_decoder::start(config)).await? else {
        return Ok(());
    };
    let (http, grpc) = (cloud.http_addr, cloud.grpc_addr);
    writeln!(io::stdout(), "listening http={http} grpc={grpc}")?;
    let ended = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "shutting down");
            Ok(())
        }
        error = cloud.ended() => Err(error),
    };
    signals.or_shut_down(cloud.shutdown()).await?;
    ended
}

impl Args {
    fn config(self) -> Result<(Option<CloudCommand>, (Config, Origins)), ConfigError> {
        let named = [
            ("http.listen", self.http_listen),
            ("grpc.listen", self.grpc_listen),
            ("data_dir", self.data_dir),
            ("decoder", self.decoder),
        ];
        let named = named
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)));
        let flags = self.set.into_iter().chain(named);
        let file = self.config.as_deref();
        let file = file.filter(|file| !file.as_os_str().is_empty());
        let config = Config::load_with_origins(file, boot::environment(), flags)?;
        Ok((self.command, config))
    }
}
