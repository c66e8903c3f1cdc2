//! The `cloud-decoder` binary.
#![forbid(unsafe_code)]

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use cloud_decoder::{Adoptions, Config, Running};
use daemon::{
    boot::{self, Command, key_value},
    config::ConfigError,
    origins::Origins,
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
    /// Make the missing rows of frames whose objects are there, in a catalogue that is new or was restored from a
    /// backup
    Adopt,
}

fn main() -> ExitCode {
    boot::main(
        Args::config,
        |(config, _)| (&config.log, &config.trace),
        |command, (config, origins)| match command {
            None => {
                origins.warn();
                boot::block_on(boot::serve(
                    cloud_decoder::start(config),
                    |cloud| format!("http={} grpc={}", cloud.http_addr, cloud.grpc_addr),
                    async |cloud| cloud.ended().await,
                    Running::shutdown,
                ))
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

impl Args {
    fn config(self) -> Result<(Option<CloudCommand>, (Config, Origins)), ConfigError> {
        let named = [
            ("http.listen", self.http_listen),
            ("grpc.listen", self.grpc_listen),
            ("data_dir", self.data_dir),
            ("decoder", self.decoder),
        ];
        let flags = boot::flags(self.set, named);
        let file = boot::non_empty(self.config.as_deref());
        let config = Config::load_with_origins(file, boot::environment(), flags)?;
        Ok((self.command, config))
    }
}
