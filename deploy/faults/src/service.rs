//! A service as a child process: started, watched, killed and started again, on the same folder.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    sync::{Mutex, watch},
    time::{Instant, sleep, timeout},
};

/// Longest that a service may take until it listens, on a busy machine and beside servers that have just started too.
const STARTS_WITHIN: Duration = Duration::from_secs(120);
/// Longest that a service may take to end when it is asked to.
const ENDS_WITHIN: Duration = Duration::from_secs(20);
/// Longest that a service may fail to start before the harness gives up.
const GIVES_UP_AFTER: Duration = Duration::from_secs(120);
/// Pause after a start that failed, for example on a full disk.
const PAUSE: Duration = Duration::from_millis(250);

/// Environment variables.
pub(crate) type Settings = BTreeMap<String, String>;

/// Where a service listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) http: SocketAddr,
    /// Of a cloud decoder alone.
    pub(crate) grpc: Option<SocketAddr>,
}

/// One service, whether it runs or not.
pub(crate) struct Service {
    binary: PathBuf,
    log: PathBuf,
    process: Mutex<Process>,
    listening: watch::Sender<Option<Addresses>>,
    /// Ends that nobody asked for.
    pub(crate) crashes: AtomicU64,
    /// Starts that ended before the service listened.
    pub(crate) failed_starts: AtomicU64,
    /// Largest resident size of any process so far, in KiB.
    peak_kib: AtomicU64,
}

#[derive(Default)]
struct Process {
    child: Option<Child>,
    settings: Settings,
}

impl Service {
    /// A service that does not run yet; its standard error is appended to `log`.
    pub(crate) fn new(binary: PathBuf, log: PathBuf, settings: Settings) -> Self {
        Self {
            binary,
            log,
            process: Mutex::new(Process {
                child: None,
                settings,
            }),
            listening: watch::Sender::default(),
            crashes: AtomicU64::default(),
            failed_starts: AtomicU64::default(),
            peak_kib: AtomicU64::default(),
        }
    }

    /// Where it listens now; `None` while it does not.
    pub(crate) fn listening(&self) -> Option<Addresses> {
        *self.listening.borrow()
    }

    /// Follows where it listens.
    pub(crate) fn follow(&self) -> watch::Receiver<Option<Addresses>> {
        self.listening.subscribe()
    }

    /// Starts it, unless it runs, and waits until it listens. A start that fails is repeated, as a supervisor would.
    pub(crate) async fn start(&self) -> Result<()> {
        let mut process = self.process.lock().await;
        self.start_locked(&mut process).await
    }

    /// SIGKILL. It stays down until it is started.
    pub(crate) async fn kill(&self) -> Result<()> {
        let mut process = self.process.lock().await;
        self.kill_locked(&mut process).await
    }

    /// SIGTERM. It has to end within a bound and say that all is well; then it stays down until it is started.
    pub(crate) async fn stop(&self) -> Result<()> {
        let mut process = self.process.lock().await;
        let Some(mut child) = process.child.take() else {
            return Ok(());
        };
        self.note_memory(&child);
        let id = child.id().context("it runs")?.to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status().await?;
        ensure!(told.success(), "kill -TERM {id}: {told}");
        let ended = timeout(ENDS_WITHIN, child.wait()).await;
        let log = self.log.display();
        let status = ended.with_context(|| format!("{log} does not end"))??;
        self.listening.send_replace(None);
        ensure!(status.success(), "{log} ended with {status}");
        Ok(())
    }

    /// SIGKILL, a changed setting, and a start.
    pub(crate) async fn restart_with(&self, key: &str, value: Option<&str>) -> Result<()> {
        let mut process = self.process.lock().await;
        self.kill_locked(&mut process).await?;
        match value {
            Some(value) => process.settings.insert(key.into(), value.into()),
            None => process.settings.remove(key),
        };
        self.start_locked(&mut process).await
    }

    /// Notes its memory, and starts it again if it ended by itself.
    pub(crate) async fn check(&self) -> Result<()> {
        let mut process = self.process.lock().await;
        let Some(child) = &mut process.child else {
            return Ok(());
        };
        if let Some(status) = child.try_wait()? {
            self.crashes.fetch_add(1, Ordering::Relaxed);
            println!("{} ended by itself: {status}", self.log.display());
            self.listening.send_replace(None);
            process.child = None;
            return self.start_locked(&mut process).await;
        }
        self.note_memory(child);
        Ok(())
    }

    /// Largest resident size so far, in MiB; starts anew.
    pub(crate) fn take_peak_mib(&self) -> u64 {
        self.peak_kib.swap(0, Ordering::Relaxed) >> 10
    }

    /// Runs the binary with the same settings and other arguments, to its end; gives its standard output.
    pub(crate) async fn ask(&self, args: &[&str]) -> Result<String> {
        let process = self.process.lock().await;
        let output = Command::new(&self.binary)
            .args(args)
            .envs(&process.settings)
            .output()
            .await?;
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr);
            bail!("{} {args:?}: {told}", self.binary.display());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    async fn kill_locked(&self, process: &mut Process) -> Result<()> {
        self.listening.send_replace(None);
        if let Some(mut child) = process.child.take() {
            self.note_memory(&child);
            child.kill().await?;
        }
        Ok(())
    }

    async fn start_locked(&self, process: &mut Process) -> Result<()> {
        if process.child.is_some() {
            return Ok(());
        }
        let begun = Instant::now();
        while begun.elapsed() < GIVES_UP_AFTER {
            if let Some((child, addresses)) = self.spawn(&process.settings).await? {
                process.child = Some(child);
                self.listening.send_replace(Some(addresses));
                return Ok(());
            }
            self.failed_starts.fetch_add(1, Ordering::Relaxed);
            sleep(PAUSE).await;
        }
        bail!(
            "{} does not start: {}",
            self.binary.display(),
            tail(&self.log)
        );
    }

    /// `None` when it ended before it listened.
    async fn spawn(&self, settings: &Settings) -> Result<Option<(Child, Addresses)>> {
        let log = append(&self.log)?;
        let mut child = Command::new(&self.binary)
            .envs(settings)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} does not start", self.binary.display()))?;
        let stdout = child.stdout.take().context("standard output is piped")?;
        let mut lines = BufReader::new(stdout).lines();
        let Ok(first) = timeout(STARTS_WITHIN, lines.next_line()).await else {
            bail!("{} does not listen", self.binary.display());
        };
        let Some(first) = first? else {
            child.wait().await?;
            return Ok(None);
        };
        let address = |key| {
            first
                .split(' ')
                .find_map(|word| word.strip_prefix(key)?.parse().ok())
        };
        let http = address("http=").with_context(|| format!("no address in {first:?}"))?;
        let grpc = address("grpc=");
        Ok(Some((child, Addresses { http, grpc })))
    }

    fn note_memory(&self, child: &Child) {
        let status = child
            .id()
            .and_then(|id| std::fs::read_to_string(format!("/proc/{id}/status")).ok());
        let peak = status.as_deref().and_then(|status| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("VmHWM:"))?;
            line.trim().strip_suffix(" kB")?.parse().ok()
        });
        self.peak_kib
            .fetch_max(peak.unwrap_or(0), Ordering::Relaxed);
    }
}

fn append(path: &Path) -> Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.with_context(|| format!("cannot write {}", path.display()))
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

/// Builds both services beside this harness, in its profile, and gives their folder.
pub(crate) fn binaries() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().context("the harness is in a folder")?;
    // Outside of cargo they have to be there already.
    let Some(cargo) = std::env::var_os("CARGO") else {
        return Ok(folder.to_owned());
    };
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    // Tests have built the whole workspace before; with the features of two packages alone much were built anew.
    let which: &[_] = match profile {
        "dev" => &["--workspace", "--bins"],
        _ => &["--package", "edge-node", "--package", "cloud-decoder"],
    };
    let built = std::process::Command::new(cargo)
        .arg("build")
        .args(which)
        .args(["--profile", profile, "--target-dir"])
        .arg(folder.parent().context("a target folder")?)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()?;
    if !built.success() {
        bail!("the services do not build");
    }
    Ok(folder.to_owned())
}
