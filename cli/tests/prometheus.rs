//! `deploy/prometheus` in a real Prometheus, against both real services. `.ci/prometheus` installs it; without it,
//! these tests only fail where `CI` is set.

mod common;
mod services;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use services::Service;
use testing::eventually;
use tokio::io::{AsyncBufReadExt as _, BufReader};

const PATIENCE: Duration = Duration::from_secs(60);

fn deployed(path: &str) -> PathBuf {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    deploy.join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(deployed(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Whether Prometheus is installed.
fn installed() -> bool {
    let found = Command::new("promtool").arg("--version").output().is_ok();
    let must = std::env::var_os("CI").is_some();
    assert!(
        found || !must,
        "promtool is not installed; .ci/prometheus does it"
    );
    if !found {
        eprintln!("NOT TESTED: promtool is not installed; .ci/prometheus does it");
    }
    found
}

#[test]
fn rules_and_alerts_do_as_their_unit_tests_say() {
    if !installed() {
        return;
    }
    for arguments in [
        ["check", "config", "prometheus.yml"],
        ["test", "rules", "tests.yml"],
    ] {
        let output = Command::new("promtool")
            .args(arguments)
            .current_dir(deployed("prometheus"))
            .output()
            .expect("promtool starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
    }
}

/// Copies `deploy/prometheus` into `folder`, with the targets here in place of Compose's names, and seconds for
/// minutes.
fn configuration(folder: &Path, edge: &str, cloud: &str) -> PathBuf {
    let mut config = read("prometheus/prometheus.yml").replace("15s", "1s");
    for (name, port, target) in [("edge", 8080, edge), ("cloud", 8090, cloud)] {
        let discovered = format!(
            "dns_sd_configs: [{{names: [{name}], type: A, port: {port}, refresh_interval: 1s}}]"
        );
        assert!(config.contains(&discovered), "no {discovered} in {config}");
        let fixed = format!("static_configs: [{{targets: [\"{target}\"]}}]");
        config = config.replace(&discovered, &fixed);
    }
    fs::write(folder.join("rules.yml"), read("prometheus/rules.yml")).expect("rules");
    let alerts = read("prometheus/alerts.yml");
    let alerts = alerts.lines().map(|line| match line.trim_start() {
        timed if timed.starts_with("for: ") => "        for: 1s\n".to_owned(),
        _ => format!("{line}\n"),
    });
    fs::write(folder.join("alerts.yml"), alerts.collect::<String>()).expect("alerts");
    let path = folder.join("prometheus.yml");
    fs::write(&path, config).expect("a configuration");
    path
}

/// A running Prometheus; killed when dropped.
struct Prometheus {
    address: String,
    _child: tokio::process::Child,
}

impl Prometheus {
    async fn start(folder: &Path, config: &Path) -> Self {
        let mut child = tokio::process::Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("tsdb").display()
            ))
            .arg("--web.listen-address=127.0.0.1:0")
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("prometheus starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let listening = async {
            while let Some(line) = lines.next_line().await.expect("its log is UTF-8") {
                if let Some((_, address)) = line.split_once("\"Listening on\" address=") {
                    return address.trim().to_owned();
                }
            }
            panic!("prometheus ended at once");
        };
        let address = tokio::time::timeout(PATIENCE, listening).await;
        // Its further output must not fill the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let address = address.expect("prometheus listens");
        let ready = format!("http://{address}/-/ready");
        eventually("prometheus is ready", PATIENCE, async || {
            let answer = testing::client().get(&ready).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        Self {
            address,
            _child: child,
        }
    }

    /// The `data` of an answer of its API.
    async fn api(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let request = testing::client()
            .get(format!("http://{}/api/v1/{path}", self.address))
            .query(query);
        let answer = request.send().await.expect("prometheus answers");
        let answer: Value = answer.json().await.expect("JSON");
        assert_eq!(answer["status"], "success", "{path} {query:?}: {answer}");
        answer["data"].clone()
    }

    async fn firing(&self) -> Vec<String> {
        let data = self.api("alerts", &[]).await;
        let alerts = data["alerts"].as_array().expect("alerts").clone();
        alerts
            .iter()
            .filter(|alert| alert["state"] == "firing")
            .map(|alert| alert["labels"]["alertname"].as_str().unwrap_or_default())
            .map(str::to_owned)
            .collect()
    }

    async fn until_firing(&self, name: &str) {
        eventually(&format!("{name} fires"), PATIENCE, async || {
            self.firing().await.iter().any(|n| n == name).then_some(())
        })
        .await;
    }
}

/// Queries of all dashboards, as Grafana would send them.
fn queries() -> Vec<String> {
    let files = fs::read_dir(deployed("grafana/dashboards")).expect("dashboards");
    let mut queries = Vec::new();
    for file in files {
        let text = fs::read_to_string(file.expect("a file").path()).expect("a dashboard");
        let dashboard: Value = serde_json::from_str(&text).expect("JSON");
        for panel in dashboard["panels"].as_array().expect("panels") {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let query = target["expr"].as_str().expect("a query");
                queries.push(query.replace("$__rate_interval", "1m"));
            }
        }
    }
    queries
}

/// Clients that do not ask for OpenMetrics get the older format, which promtool accepts.
async fn in_the_format_of_prometheus(folder: &Path, service: &Service) {
    let url = format!("http://{}/metrics", service.http);
    let request = testing::client().get(url).header("accept", "text/plain");
    let answer = request.send().await.expect("the service answers");
    let kind = answer.headers()["content-type"].clone();
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text().await.expect("a text");
    assert!(text.contains("_build_info gauge\n") && !text.contains("# EOF"));
    let file = folder.join("metrics");
    fs::write(&file, text).expect("a file");
    let check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(fs::File::open(&file).expect("the file"))
        .output()
        .expect("promtool starts");
    let said = String::from_utf8_lossy(&check.stderr).into_owned();
    // 3: it could read all, and has opinions on names.
    assert!(matches!(check.status.code(), Some(0 | 3)), "{said}");
}

#[tokio::test]
async fn a_real_prometheus_scrapes_both_and_alerts_when_the_cloud_is_gone() {
    if !installed() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let cloud = Service::cloud(&folder.path().join("data"), "127.0.0.1:0").await;
    let edge = Service::edge(&folder.path().join("spool.sqlite"), &cloud.grpc).await;
    for service in [&edge, &cloud] {
        in_the_format_of_prometheus(folder.path(), service).await;
    }
    let config = configuration(folder.path(), &edge.http, &cloud.http);
    let prometheus = Prometheus::start(folder.path(), &config).await;

    eventually("both are scraped", PATIENCE, async || {
        let data = prometheus.api("targets", &[]).await;
        let targets = data["activeTargets"].as_array().expect("targets");
        let up = targets.iter().filter(|target| target["health"] == "up");
        (up.count() == 2).then_some(())
    })
    .await;
    let data = prometheus.api("rules", &[]).await;
    let groups = data["groups"].as_array().expect("groups");
    assert_eq!(groups.len(), 5, "{data}");
    eventually("every rule was evaluated", PATIENCE, async || {
        let data = prometheus.api("rules", &[]).await;
        let groups = data["groups"].as_array().expect("groups").clone();
        let rules = groups.iter().flat_map(|group| {
            let rules = group["rules"].as_array().expect("rules");
            rules.iter()
        });
        rules
            .clone()
            .all(|rule| rule["health"] == "ok")
            .then_some(())
    })
    .await;

    let queries = queries();
    assert!(queries.len() > 80, "the dashboards are not read");
    for query in &queries {
        prometheus.api("query", &[("query", query)]).await;
    }
    eventually("the uplink stands", PATIENCE, async || {
        let query = [("query", "edge_node_uplink_connected == 1")];
        let data = prometheus.api("query", &query).await;
        (!data["result"].as_array()?.is_empty()).then_some(())
    })
    .await;
    let firing = prometheus.firing().await;
    assert!(
        !firing.contains(&"CloudDecoderDown".to_owned()),
        "{firing:?}"
    );

    cloud.kill().await;
    prometheus.until_firing("CloudDecoderDown").await;
    prometheus.until_firing("UplinkDown").await;
}
