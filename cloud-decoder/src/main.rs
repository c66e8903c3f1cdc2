//! The `cloud-decoder` binary: parse, check, start, wait, drain.
#![forbid(unsafe_code)]

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use cloud_decoder::{
    Config,
    config::{CONFIG_VARIABLE, ConfigError, Log, LogFormat},
};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::{EnvFilter, filter::ParseError};

/// Exit status for a configuration that cannot be used (`EX_USAGE` of sysexits.h).
const EX_USAGE: u8 = 64;

/// Takes encoded frames from edge nodes, rebuilds and measures them, shows them.
///
/// Settings come from the file, then from CLOUD_DECODER_* variables (CLOUD_DECODER_HTTP__LISTEN),
/// then from flags.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// TOML file; cloud-decoder.example.toml lists every key
    #[arg(long, env = CONFIG_VARIABLE, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address of dashboard and HTTP API (http.listen); port 0 takes a free one
    #[arg(long, value_name = "ADDR")]
    http_listen: Option<String>,
    /// Address of the gRPC services (grpc.listen); port 0 takes a free one
    #[arg(long, value_name = "ADDR")]
    grpc_listen: Option<String>,
    /// Folder of catalogue and objects (data_dir)
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Decoder weights (.safetensors) in place of the embedded ones (decoder)
    #[arg(long, value_name = "FILE")]
    decoder: Option<String>,
    /// Any other key, for example --set decode.workers=2
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
            eprintln!("cloud-decoder: {error}");
            return EX_USAGE.into();
        }
    };
    if let Err(error) = init_log(&config.log) {
        eprintln!("cloud-decoder: log.filter: {error}");
        return EX_USAGE.into();
    }
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cloud-decoder: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut cloud = cloud_decoder::start(config).await?;
    let (http, grpc) = (cloud.http_addr, cloud.grpc_addr);
    writeln!(io::stdout(), "listening http={http} grpc={grpc}")?;
    let ended = tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Into::into),
        error = cloud.ended() => Err(error),
    };
    tracing::info!("shutting down");
    cloud.shutdown().await;
    ended
}

impl Args {
    fn config(self) -> Result<Config, ConfigError> {
        let named = [
            ("http.listen", self.http_listen),
            ("grpc.listen", self.grpc_listen),
            ("data_dir", self.data_dir),
            ("decoder", self.decoder),
        ];
        let named = named
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)));
        // Variables that are not UTF-8 cannot be ours.
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Config::load(
            self.config.as_deref(),
            environment,
            self.set.into_iter().chain(named),
        )
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn init_log(log: &Log) -> Result<(), ParseError> {
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
