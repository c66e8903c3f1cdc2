//! A service as a child process: started, watched, killed and started again, on the same folder.

mod asked;

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    net::SocketAddr,
    os::unix::process::ExitStatusExt as _,
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
/// Exit code of a panic.
const PANICKED: i32 = 101;
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
    /// Used by cloud decoders only.
    pub(crate) grpc: Option<SocketAddr>,
}

/// One service, whether it runs or not.
pub(crate) struct Service {
    binary: PathBuf,
    log: PathBuf,
    process: Mutex<Process>,
    listening: watch::Sender<Option<Addresses>>,
    /// Ends that were not requested, or that differ from the request.
    pub(crate) unexpected_ends: AtomicU64,
    /// Starts that ended before the service listened, with a reason.
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
            unexpected_ends: AtomicU64::default(),
            failed_starts: AtomicU64::default(),
            peak_kib: AtomicU64::default(),
        }
    }

    /// Name of its folder.
    pub(crate) fn name(&self) -> String {
        let name = self.log.file_stem().unwrap_or_default();
        name.to_string_lossy().into_owned()
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

    /// The running process, which will be ended; none that has ended by itself.
    fn take(&self, process: &mut Process) -> Result<Option<Child>> {
        self.note_end(process)?;
        if let Some(child) = &process.child {
            self.note_memory(child);
        }
        Ok(process.child.take())
    }

    fn unexpected(&self, what: &str) {
        self.unexpected_ends.fetch_add(1, Ordering::Relaxed);
        println!("{} {what}:\n{}", self.log.display(), tail(&self.log));
    }

    /// Notes a process that has ended by itself.
    fn note_end(&self, process: &mut Process) -> Result<()> {
        let Some(child) = &mut process.child else {
            return Ok(());
        };
        if let Some(status) = child.try_wait()? {
            self.unexpected(&format!("ended by itself: {status}"));
            self.listening.send_replace(None);
            process.child = None;
        }
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
        let ran = process.child.is_some();
        self.note_end(&mut process)?;
        match &process.child {
            Some(child) => self.note_memory(child),
            None if ran => return self.start_locked(&mut process).await,
            None => {}
        }
        Ok(())
    }

    /// Largest resident size so far, in MiB; starts anew.
    pub(crate) fn take_peak_mib(&self) -> u64 {
        self.peak_kib.swap(0, Ordering::Relaxed) >> 10
    }

    /// Starts it once, and stops it again if it listens; whether it refused to.
    pub(crate) async fn refuses_to_start(&self) -> Result<bool> {
        let process = self.process.lock().await;
        ensure!(process.child.is_none(), "it runs");
        match self.spawn(&process.settings).await? {
            Some((mut child, _)) => {
                child.kill().await?;
                Ok(false)
            }
            None => Ok(true),
        }
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
        if let Some(mut child) = self.take(process)? {
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
            let status = child.wait().await?;
            if status.signal().is_some() || status.code() == Some(PANICKED) {
                self.unexpected(&format!("ended at its start: {status}"));
            }
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
        _ => &[
            "--package",
            "edge-node",
            "--package",
            "cloud-decoder",
            "--package",
            "patchwire",
        ],
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

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = "echo listening http=127.0.0.1:1";

    /// A service that is a script.
    fn scripted(folder: &Path, script: &str) -> Service {
        use std::os::unix::fs::PermissionsExt as _;
        let binary = folder.join("service");
        let text = format!("#!/bin/sh\n{script}\n");
        std::fs::write(&binary, text).expect("the script is written");
        let mode = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(&binary, mode).expect("the script may be run");
        Service::new(binary, folder.join("log"), Settings::new())
    }

    async fn ends_by(script: &str, act: impl AsyncFnOnce(&Service) -> Result<()>) -> u64 {
        let folder = tempfile::tempdir().expect("a folder");
        let service = scripted(folder.path(), script);
        service.start().await.expect("it starts");
        act(&service).await.expect("it can be done");
        service.unexpected_ends.load(Ordering::Relaxed)
    }

    /// Waits until the script has come to its end.
    async fn ended(service: &Service) -> Result<()> {
        loop {
            let mut process = service.process.lock().await;
            if process
                .child
                .as_mut()
                .context("it was started")?
                .try_wait()?
                .is_some()
            {
                return Ok(());
            }
            drop(process);
            sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn a_service_that_ends_by_itself_counts_also_if_it_would_have_been_killed() {
        let killed = async |service: &Service| {
            ended(service).await?;
            service.kill().await
        };
        assert_eq!(ends_by(&format!("{TOLD}; exit 0"), killed).await, 1);
        let stopped = async |service: &Service| {
            ended(service).await?;
            service.stop().await
        };
        assert_eq!(ends_by(&format!("{TOLD}; kill -ABRT $$"), stopped).await, 1);
    }

    #[tokio::test]
    async fn an_end_that_was_asked_for_counts_only_if_it_is_not_a_good_one() {
        let kill = async |service: &Service| service.kill().await;
        let sleeps = format!("{TOLD}; exec sleep 1000");
        assert_eq!(ends_by(&sleeps, kill).await, 0);
        let stop = async |service: &Service| service.stop().await;
        let well = format!("trap 'kill $!; exit 0' TERM; sleep 1000 & {TOLD}; wait");
        assert_eq!(ends_by(&well, stop).await, 0);
        let badly = format!("trap 'kill $!; exit 3' TERM; sleep 1000 & {TOLD}; wait");
        assert_eq!(ends_by(&badly, stop).await, 1);
        let hang_up = async |service: &Service| service.hang_up().await;
        assert_eq!(ends_by(&sleeps, hang_up).await, 1);
    }
}
