//! The operator's view: configuration, health, metrics, the binary, shutdown.

mod support;

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use edge_node::Config;
use support::{config, get};
use tokio::io::{AsyncBufReadExt as _, BufReader};

fn load(
    file: Option<&Path>,
    env: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Config, String> {
    let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|&(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    };
    Config::load(file, owned(env), &owned(flags)).map_err(|error| error.to_string())
}

#[test]
fn the_example_holds_the_defaults() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("edge-node.example.toml");
    assert_eq!(load(Some(&example), &[], &[]), Ok(Config::default()));
    let text = std::fs::read_to_string(example).expect("the example");
    let value = serde_json::to_value(Config::default()).expect("a value");
    for (key, value) in value.as_object().expect("an object") {
        assert!(text.contains(key), "{key} is missing in the example");
        for inner in value.as_object().into_iter().flatten() {
            assert!(
                text.contains(inner.0),
                "{key}.{} is missing in the example",
                inner.0
            );
        }
    }
}

#[test]
fn flags_win_over_environment_over_file() {
    let dir = tempfile::tempdir().expect("dir");
    let file = dir.path().join("config.toml");
    std::fs::write(
        &file,
        "node_id = 'file'\n[http]\nmax_pixels = 1000\n[uplink]\nwindow = 3\n",
    )
    .expect("write");
    let env = [
        ("EDGE_NODE_NODE_ID", "17"),
        ("EDGE_NODE_HTTP__MAX_PIXELS", "2000"),
        ("EDGE_NODE_CONFIG", "elsewhere.toml"),
        ("PATH", "/bin"),
    ];
    let config = load(Some(&file), &env, &[("http.max_pixels", "3000")]).expect("a configuration");
    assert_eq!((config.uplink.window, config.node_id.as_str()), (3, "17"));
    assert_eq!(config.http.max_pixels, 3000);
}

#[test]
fn wrong_values_are_named() {
    for (key, value) in [
        ("node_id", "a b"),
        ("originals_share", "1.5"),
        ("originals_share", "nan"),
        ("http.listen", "nowhere"),
        ("http.max_concurrent", "0"),
        ("spool.max_bytes", "10"),
        ("spool.on_full", "explode"),
        ("uplink.endpoint", "ftp://x"),
        ("uplink.window", "many"),
        ("uplink.windw", "3"),
    ] {
        let error = load(None, &[], &[(key, value)]).expect_err(key);
        let last = key.rsplit('.').next().expect("a name");
        assert!(
            error.contains(last) || error.contains(value),
            "{key}: {error}"
        );
        assert!(!error.contains('\n'), "{key}: {error}");
    }
}

#[tokio::test]
async fn health_metrics_and_programs_are_there_from_the_start() {
    let dir = tempfile::tempdir().expect("dir");
    let addr = support::free_addr().await;
    let node = edge_node::start(config(dir.path(), addr))
        .await
        .expect("start");
    assert_eq!(get(&node, "/livez").await.0, 200);
    assert_eq!(get(&node, "/readyz").await.0, 200);
    let (_, text) = get(&node, "/metrics").await;
    let text = text.as_str().expect("text");
    for series in [
        "edge_node_frames_accepted_total{task=\"both\"} 0",
        "edge_node_frames_refused_total{reason=\"spool_full\"} 0",
        "edge_node_spool_dropped_total{cause=\"corrupt\"} 0",
        "edge_node_uplink_acks_total{status=\"duplicate\"} 0",
        "edge_node_uplink_connected 0",
        "edge_node_uplink_last_ack_age_seconds -1",
        "edge_node_encode_seconds_count 0",
        "edge_node_spool_bytes 0",
    ] {
        assert!(text.contains(series), "{series} is missing in\n{text}");
    }
    let (_, encoder) = get(&node, "/v1/encoder").await;
    assert_eq!(encoder["budget_bits"], 1_048_576);
    let programs = &encoder["programs"];
    assert_eq!(
        (&programs[0]["task"], &programs[1]["task"]),
        (&"compress".into(), &"classify".into())
    );
    assert_eq!(programs[0]["latent_bits"], 8);
    assert_eq!(programs[1]["macs_per_patch"], 3 * 3072);
    assert!(
        programs[1]["memory_bits"]["total"]
            .as_u64()
            .is_some_and(|bits| bits >= 2 * 3 * 3072)
    );
    node.shutdown().await;
}

#[tokio::test]
async fn shutdown_is_bounded_with_an_idle_connection_open() {
    let dir = tempfile::tempdir().expect("dir");
    let addr = support::free_addr().await;
    let mut config = config(dir.path(), addr);
    config.shutdown_s = 1;
    let node = edge_node::start(config).await.expect("start");
    let _idle = tokio::net::TcpStream::connect(node.http_addr)
        .await
        .expect("connect");
    let (_hold, chunks) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
    let body = reqwest::Body::wrap_stream(tokio_stream::wrappers::ReceiverStream::new(chunks));
    let stuck = support::post(&node, "camera=c")
        .header("content-type", "image/png")
        .body(body);
    let stuck = tokio::spawn(stuck.send());
    support::eventually("the request is being read", async || {
        support::metric(&node, "edge_node_bodies_in_flight").await == 1.0
    })
    .await;
    let start = Instant::now();
    node.shutdown().await;
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    assert!(
        stuck.await.expect("task").is_err(),
        "the stuck request was cut off"
    );
}

#[test]
fn bad_configuration_exits_64_with_one_sentence() {
    for arguments in [
        &["--set", "uplink.window=0"][..],
        &["--config", "/nonexistent/edge-node.toml"],
        &["--set", "nonsense"],
        &["--no-such-flag"],
    ] {
        let run = Command::new(env!("CARGO_BIN_EXE_edge-node"))
            .args(arguments)
            .output()
            .expect("run");
        assert_eq!(run.status.code(), Some(64), "{arguments:?}");
        assert!(
            !run.stderr.is_empty() && run.stdout.is_empty(),
            "{arguments:?}"
        );
    }
    let run = Command::new(env!("CARGO_BIN_EXE_edge-node"))
        .arg("--version")
        .output()
        .expect("run");
    assert_eq!(run.status.code(), Some(0));
    assert!(run.stdout.starts_with(b"edge-node "), "{run:?}");
}

#[test]
fn the_effective_configuration_is_printed_with_origins_and_reads_back() {
    let dir = tempfile::tempdir().expect("dir");
    let file = dir.path().join("config.toml");
    std::fs::write(&file, "[uplink]\nwindow = 3\n").expect("write");
    let run = Command::new(env!("CARGO_BIN_EXE_edge-node"))
        .args(["config", "--set", "rate.bits=128", "--config"])
        .arg(&file)
        .env("EDGE_NODE_HTTP__MAX_PIXELS", "2000")
        .output()
        .expect("run");
    let told = String::from_utf8(run.stdout).expect("text");
    for line in [
        "node_id = \"edge-1\" # default".to_owned(),
        "bits = 128 # flag".to_owned(),
        "max_pixels = 2000 # environment EDGE_NODE_HTTP__MAX_PIXELS".to_owned(),
        format!("window = 3 # file {}", file.display()),
        "# ttl_s is not set".to_owned(),
    ] {
        assert!(told.lines().any(|told| told == line), "{line} in\n{told}");
    }
    let printed = dir.path().join("printed.toml");
    std::fs::write(&printed, &told).expect("write");
    let env = [("EDGE_NODE_HTTP__MAX_PIXELS", "2000")];
    let meant = load(Some(&file), &env, &[("rate.bits", "128")]);
    assert_eq!(load(Some(&printed), &[], &[]), meant, "{told}");
}

#[test]
fn the_schema_has_every_key() {
    let run = Command::new(env!("CARGO_BIN_EXE_edge-node"))
        .args(["config", "--schema"])
        .output()
        .expect("run");
    let schema: serde_json::Value = serde_json::from_slice(&run.stdout).expect("JSON");
    let defaults = serde_json::to_value(Config::default()).expect("a value");
    for (key, value) in defaults.as_object().expect("an object") {
        let property = &schema["properties"][key];
        assert!(property.is_object(), "{key}: {schema}");
        let name = property["$ref"].as_str().and_then(|r| r.rsplit('/').next());
        for inner in value.as_object().into_iter().flatten() {
            let section = &schema["$defs"][name.expect("a section")];
            let told = &section["properties"][inner.0]["description"];
            assert!(told.is_string(), "{key}.{}: {schema}", inner.0);
        }
    }
}

#[tokio::test]
async fn the_binary_tells_its_address_and_stops_on_sigterm() {
    let dir = tempfile::tempdir().expect("dir");
    // Writes the programs.
    let config = config(dir.path(), ([127, 0, 0, 1], 1).into());
    let set = |key: &str, path: &Path| format!("{key}={}", path.display());
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_edge-node"))
        .args([
            "--http-listen",
            "localhost:0",
            "--endpoint",
            "http://127.0.0.1:1",
            "--set",
        ])
        .arg(set(
            "programs.compress",
            &config.programs.compress.expect("a path"),
        ))
        .arg("--set")
        .arg(set(
            "programs.classify",
            &config.programs.classify.expect("a path"),
        ))
        .arg("--spool")
        .arg(&config.spool.path)
        .env("EDGE_NODE_CONFIG", "")
        .env("EDGE_NODE_PORT_8080_TCP", "tcp://10.0.0.1:8080")
        .env("EDGE_NODE_HTTP__CAMERA_RATE", "")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("run");
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("stdout"));
    stdout.read_line(&mut line).await.expect("a line");
    let http = line.trim_end().strip_prefix("listening http=");
    let http = http.expect("an address").to_owned();
    assert!(http.starts_with("127.0.0.1:"), "{line:?}");
    let check = healthcheck(&http);
    assert!(check.status.success(), "{check:?}");
    assert_eq!(check.stdout, format!("{http} is ready\n").as_bytes());
    let id = child.id().expect("it runs").to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .expect("kill")
            .success()
    );
    let status = tokio::time::timeout(support::PATIENCE, child.wait()).await;
    assert!(status.expect("it stops").expect("a status").success());

    let check = healthcheck(&http);
    assert_eq!(check.status.code(), Some(1));
    let told = String::from_utf8(check.stderr).expect("text");
    assert!(told.starts_with("edge-node: nothing listens on "), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
}

fn healthcheck(http: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_edge-node"))
        .args(["healthcheck", "--http-listen", http])
        .output()
        .expect("run")
}
