//! `cloud-decoder`: the cloud side of Patchwire as a process of its own.
#![forbid(unsafe_code)]

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use cloud_decoder::{Config, config::CONFIG_VARIABLE};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Takes encoded frames from edge nodes, rebuilds and measures them, shows them.
///
/// Every setting can also come from the configuration file or from a CLOUD_DECODER_* variable, such
/// as CLOUD_DECODER_HTTP__LISTEN; flags win over variables, variables over the file.
#[derive(Parser)]
#[command(version)]
struct Flags {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE", env = CONFIG_VARIABLE)]
    config: Option<PathBuf>,
    /// Address of dashboard and HTTP API.
    #[arg(long, value_name = "ADDR")]
    http_listen: Option<String>,
    /// Address of the gRPC services.
    #[arg(long, value_name = "ADDR")]
    grpc_listen: Option<String>,
    /// Folder of catalogue and objects.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Decoder weights (.safetensors) in place of the embedded ones.
    #[arg(long, value_name = "FILE")]
    decoder: Option<String>,
    /// What to log, for example info or cloud_decoder=debug.
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

/// `EX_USAGE` of sysexits.h: the configuration is wrong, trying again will not help.
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    let flags = Flags::parse();
    let settings = [
        ("http.listen", flags.http_listen),
        ("grpc.listen", flags.grpc_listen),
        ("data_dir", flags.data_dir),
        ("decoder", flags.decoder),
        ("log", flags.log),
    ];
    let settings = settings.into_iter().filter_map(|(key, v)| Some((key, v?)));
    // Variables that are not UTF-8 cannot be ours.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let config = match Config::load(flags.config.as_deref(), environment, settings) {
        Ok(config) => config,
        Err(error) => return usage(&error),
    };
    let filter = match EnvFilter::try_new(&config.log) {
        Ok(filter) => filter,
        Err(error) => return usage(&error),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
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
    let mut running = cloud_decoder::start(config).await?;
    println!(
        "listening http={} grpc={}",
        running.http_addr, running.grpc_addr
    );
    let ended = tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Into::into),
        error = running.ended() => Err(error),
    };
    tracing::info!("shutting down");
    running.shutdown().await;
    ended
}

fn usage(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("cloud-decoder: {error}");
    ExitCode::from(EXIT_USAGE)
}
