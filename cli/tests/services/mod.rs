//! The two real binaries as child processes.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tokio::time::timeout;

const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// The folder of this build's binaries, with the two services built in the same profile.
fn binaries() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_BIN_EXE_patchwire"))
            .parent()
            .expect("a folder");
        let profile = match folder.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(profile) => profile,
        };
        let built = Command::new(env!("CARGO"))
            // The whole workspace: fewer crates than with other features for two packages alone.
            .args(["build", "--workspace", "--bins"])
            .args(["--profile", profile, "--target-dir"])
            .arg(folder.parent().expect("a target folder"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("cargo starts");
        assert!(built.success(), "the services do not build");
        folder.to_owned()
    })
}

/// A binary of this build.
pub(crate) async fn binary(name: &str) -> PathBuf {
    let folder = tokio::task::spawn_blocking(binaries).await;
    folder.expect("the build ends").join(name)
}

/// A running service; killed when dropped.
#[allow(dead_code, reason = "each test binary uses a part")]
pub(crate) struct Service {
    child: Child,
    /// `HOST:PORT` of the HTTP side.
    pub(crate) http: String,
    /// `HOST:PORT` of the gRPC side; empty for an edge node.
    pub(crate) grpc: String,
}

#[allow(dead_code, reason = "each test binary uses a part")]
impl Service {
    /// A cloud decoder on `data`, with gRPC at `grpc` (port 0: any).
    pub(crate) async fn cloud(data: &Path, grpc: &str) -> Self {
        Self::cloud_with(data, grpc, &[], Stdio::inherit()).await
    }

    /// The same with further variables, and its log elsewhere.
    pub(crate) async fn cloud_with(
        data: &Path,
        grpc: &str,
        further: &[(&str, &str)],
        log: Stdio,
    ) -> Self {
        let settings = [
            ("CLOUD_DECODER_HTTP__LISTEN", "127.0.0.1:0"),
            ("CLOUD_DECODER_GRPC__LISTEN", grpc),
            ("CLOUD_DECODER_DATA_DIR", text(data)),
            ("CLOUD_DECODER_LOG__FILTER", "error"),
        ];
        Self::start("cloud-decoder", &[&settings, further].concat(), log).await
    }

    /// An edge node on the spool file `spool`, linked to the cloud at `grpc`. Every frame takes its
    /// original along, and a lost link is tried again every half second at least.
    pub(crate) async fn edge(spool: &Path, grpc: &str) -> Self {
        Self::edge_with(spool, grpc, &[], Stdio::inherit()).await
    }

    /// The same with further variables, and its log elsewhere.
    pub(crate) async fn edge_with(
        spool: &Path,
        grpc: &str,
        further: &[(&str, &str)],
        log: Stdio,
    ) -> Self {
        let endpoint = format!("http://{grpc}");
        let settings = [
            ("EDGE_NODE_HTTP__LISTEN", "127.0.0.1:0"),
            ("EDGE_NODE_SPOOL__PATH", text(spool)),
            ("EDGE_NODE_UPLINK__ENDPOINT", &endpoint),
            ("EDGE_NODE_UPLINK__BACKOFF_MAX_MS", "500"),
            ("EDGE_NODE_ORIGINALS_SHARE", "1.0"),
            ("EDGE_NODE_LOG__FILTER", "error"),
        ];
        Self::start("edge-node", &[&settings, further].concat(), log).await
    }

    /// The service `name` with these variables, whose log goes to `log`.
    pub(crate) async fn start(name: &str, settings: &[(&str, &str)], log: Stdio) -> Self {
        let mut child = tokio::process::Command::new(binary(name).await)
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let first = timeout(STARTS_WITHIN, lines.next_line())
            .await
            .unwrap_or_else(|_| panic!("{name} does not listen"))
            .expect("output is UTF-8")
            .unwrap_or_else(|| panic!("{name} ended at once"));
        let address = |key: &str| {
            first
                .split(' ')
                .find_map(|word| word.strip_prefix(key))
                .unwrap_or_default()
                .to_owned()
        };
        let (http, grpc) = (address("http="), address("grpc="));
        assert!(!http.is_empty(), "{name} says {first:?}");
        Self { child, http, grpc }
    }

    /// SIGKILL: no chance to tidy up.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("the service was running");
    }

    /// GET `path` as JSON.
    pub(crate) async fn get(&self, path: &str) -> serde_json::Value {
        let response = testing::client()
            .get(format!("http://{}{path}", self.http))
            .send()
            .await
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(
            response.status().is_success(),
            "{path}: {}",
            response.status()
        );
        response
            .json()
            .await
            .unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders are UTF-8")
}
