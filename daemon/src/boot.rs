//! The start and end of a service's process.

use std::{
    future::Future,
    io::{self, IsTerminal as _, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, ensure};
use clap::{
    Parser, Subcommand,
    builder::{OsStringValueParser, TypedValueParser},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
};
use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::{ParseError, filter_fn},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::{
    config::{ConfigError, Log, LogFormat},
    effective, health,
    origins::Origins,
    tokens::{self, Kind},
    trace::{Trace, Traces},
};

/// Exit status for a configuration that cannot be used (`EX_USAGE` of sysexits.h).
const EX_USAGE: u8 = 64;
/// Target of the spans of a frame's trace.
pub const SPANS: &str = "patchwire";

/// Commands of every service's binary.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Ask the running service whether it is ready, and exit with 0 or 1
    Healthcheck,
    /// Print the configuration that the service would run with, and the origin of each value
    Config {
        /// Print the JSON schema of the configuration file instead
        #[arg(long)]
        schema: bool,
    },
    /// Make a token: print it, this once, and the line for the file that auth.tokens names
    Token {
        /// Use of the token
        kind: Kind,
        /// Name of the owner; a node's token is only valid for the node of this name
        name: String,
        /// Append the line to this file instead of printing it
        #[arg(long, value_name = "FILE")]
        add_to: Option<PathBuf>,
    },
}

/// The `main` of a service: parses the command line into a command and a configuration, starts the log and the traces,
/// raises the limit of [open files](open_files), and calls `run`.
///
/// Exits with 0 when `run` returns and for `--help` and `--version`, with 64 for a command line, configuration or log
/// filter that cannot be used, and with 1 for an error of `run`. Errors are one sentence on stderr after the name of
/// the binary.
pub fn main<A: Parser, K, C>(
    config: impl FnOnce(A) -> Result<(Option<K>, C), ConfigError>,
    signals: impl FnOnce(&C) -> (&Log, &Trace),
    run: impl FnOnce(Option<K>, C) -> anyhow::Result<()>,
) -> ExitCode {
    let args = match A::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let code = if error.use_stderr() { EX_USAGE } else { 0 };
            return if error.print().is_ok() {
                code.into()
            } else {
                ExitCode::FAILURE
            };
        }
    };
    let grammar = A::command();
    let name = grammar.get_name();
    let (command, config) = match config(args) {
        Ok(read) => read,
        Err(error) => {
            eprintln!("{name}: {error}");
            return EX_USAGE.into();
        }
    };
    let (log, trace) = signals(&config);
    let traces = match Traces::open(trace, name) {
        Ok(traces) => traces,
        Err(error) => {
            eprintln!("{name}: trace.otlp_endpoint: {error:#}");
            return EX_USAGE.into();
        }
    };
    if let Err(error) = init_log(log, traces.as_ref()) {
        eprintln!("{name}: log.filter: {error}");
        return EX_USAGE.into();
    }
    if let Err(error) = open_files() {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    let ended = run(command, config);
    drop(traces);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Command {
    /// Runs the command for a service with this configuration, whose HTTP server listens on `listen` with or without
    /// `tls`, and which knows tokens of `kinds`.
    ///
    /// # Errors
    /// The service is not ready, or does not say so in time; the token cannot be made or written; standard output is
    /// closed.
    pub fn run<C: JsonSchema + Serialize>(
        self,
        config: &C,
        origins: &Origins,
        listen: SocketAddr,
        tls: bool,
        kinds: &[Kind],
    ) -> anyhow::Result<()> {
        match self {
            Self::Healthcheck => healthcheck(listen, tls),
            Self::Config { schema: true } => effective::print_schema::<C>(),
            Self::Config { schema: false } => effective::print(config, origins),
            Self::Token { kind, name, add_to } => token(kind, &name, add_to.as_deref(), kinds),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn healthcheck(listen: SocketAddr, tls: bool) -> anyhow::Result<()> {
    let addr = health::check(listen, tls).await?;
    writeln!(io::stdout(), "{addr} is ready")?;
    Ok(())
}

fn token(kind: Kind, name: &str, add_to: Option<&Path>, kinds: &[Kind]) -> anyhow::Result<()> {
    let allowed: Vec<_> = kinds.iter().map(Kind::to_string).collect();
    ensure!(
        kinds.contains(&kind),
        "a {kind}'s token has no use here, allowed are {}",
        allowed.join(" and ")
    );
    let (token, principal) = tokens::generate(kind, name).map_err(anyhow::Error::msg)?;
    if let Some(file) = add_to {
        let added = tokens::append(file, &principal);
        added.with_context(|| format!("{} cannot be written", file.display()))?;
        writeln!(io::stdout(), "{token}")?;
    } else {
        writeln!(io::stdout(), "{token}\n{principal}")?;
    }
    Ok(())
}

/// The signals that end a service: SIGTERM, ctrl-c, or SIGHUP of a terminal that is closed. (Files of tokens,
/// certificates and programs are read again without a signal.)
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Catches them from now on.
    fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one, and returns its name.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hang_up.recv() => "SIGHUP",
        }
    }
}

/// Starts a service, prints its `addresses`, and runs it until a signal comes or it has `ended` by itself.
///
/// # Errors
/// That of the start, or why the service ended by itself.
pub async fn serve<S>(
    start: impl Future<Output = anyhow::Result<S>>,
    addresses: impl FnOnce(&S) -> String,
    ended: impl AsyncFnOnce(&mut S) -> anyhow::Error,
    shutdown: impl AsyncFnOnce(S),
) -> anyhow::Result<()> {
    let mut signals = Signals::catch()?;
    let mut service = tokio::select! {
        started = start => started?,
        signal = signals.next() => {
            tracing::info!(signal, "not started");
            return Ok(());
        }
    };
    writeln!(io::stdout(), "listening {}", addresses(&service))?;
    let ended = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "shutting down");
            Ok(())
        }
        error = ended(&mut service) => Err(error),
    };
    tokio::select! {
        () = shutdown(service) => ended,
        signal = signals.next() => {
            anyhow::bail!("{signal} came during the shutdown, which was not waited for")
        }
    }
}

/// Runs a service on a runtime of its own. Threads that still compute when it ends are not waited for.
///
/// # Errors
/// No thread can be started, or that of the service.
pub fn block_on(service: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let mut runtime = runtime::Builder::new_multi_thread();
    let runtime = runtime.enable_all().build()?;
    let ended = runtime.block_on(service);
    runtime.shutdown_background();
    ended
}

/// Raises this process's limit of open files, which includes connections, as far as the system allows, and returns it.
/// The limit usually begins at 1,024, for old programs that cannot handle more.
///
/// # Errors
/// The limit cannot be raised.
pub fn open_files() -> io::Result<u64> {
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: most,
            maximum: most,
        },
    )?;
    Ok(most.unwrap_or(u64::MAX))
}

/// Parses `KEY=VALUE`; a `value_parser` for `clap`.
///
/// # Errors
/// There is no `=`.
pub fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// The settings of a command line: pairs of `--set`, and flags with a name of their own, by key.
pub fn flags<const N: usize>(
    set: Vec<(String, String)>,
    named: [(&str, Option<String>); N],
) -> Vec<(String, String)> {
    let named = named.into_iter();
    let named = named.filter_map(|(key, value)| Some((key.to_owned(), value?)));
    set.into_iter().chain(named).collect()
}

/// The path, unless it is empty.
pub fn non_empty(path: Option<&Path>) -> Option<&Path> {
    path.filter(|path| !path.as_os_str().is_empty())
}

/// A `value_parser` for `clap` that accepts an empty path: an empty variable counts as unset.
pub fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// The environment without variables that are not UTF-8, which cannot be settings.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn init_log(log: &Log, traces: Option<&Traces>) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(&log.filter)?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let lines = match log.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    // Only our own spans: the transport's spans would trace the sending of traces.
    let ours = filter_fn(|meta| meta.is_span() && meta.target().starts_with(SPANS));
    let spans = traces.map(|traces| {
        tracing_opentelemetry::layer()
            .with_tracer(traces.tracer())
            .with_filter(ours)
    });
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(spans)
        .init();
    Ok(())
}
