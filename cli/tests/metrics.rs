//! `docs/metrics.md` is the inventory of what both real services serve, from the start, and nothing asks for a
//! metric that is not in it. `UPDATE_GOLDEN=1` rewrites its tables.

mod common;
mod services;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use services::Service;

const SERVICES: [(&str, &str); 2] = [
    ("edge-node", "edge_node_"),
    ("cloud-decoder", "cloud_decoder_"),
];
/// Values of a label that the inventory spells out.
const SPELLED: usize = 8;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[derive(Default)]
struct Metric {
    kind: String,
    help: String,
    labels: BTreeMap<String, BTreeSet<String>>,
}

/// The families in an OpenMetrics text, by the name that queries use.
fn families(text: &str) -> BTreeMap<String, Metric> {
    let mut families: BTreeMap<String, Metric> = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            let (keyword, name) = (words.next(), words.next());
            let (Some(name), Some(told)) = (name, words.next()) else {
                continue;
            };
            let metric = families.entry(name.to_owned()).or_default();
            match keyword {
                Some("HELP") => metric.help = told.trim_end_matches('.').to_owned(),
                Some("TYPE") => metric.kind = told.to_owned(),
                _ => {}
            }
        } else if let Some((series, _)) = line.rsplit_once(' ') {
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let metric = families
                .iter_mut()
                .rfind(|(family, _)| name.starts_with(family.as_str()))
                .unwrap_or_else(|| panic!("{name} belongs to no family"))
                .1;
            for label in labels.trim_end_matches('}').split("\",") {
                let Some((key, value)) = label.split_once("=\"") else {
                    continue;
                };
                if key != "le" {
                    let value = value.trim_end_matches('"').to_owned();
                    metric
                        .labels
                        .entry(key.to_owned())
                        .or_default()
                        .insert(value);
                }
            }
        }
    }
    let suffix = |kind: &str| match kind {
        "counter" => "_total",
        "info" => "_info",
        _ => "",
    };
    let named = families.into_iter();
    named
        .map(|(name, metric)| (format!("{name}{}", suffix(&metric.kind)), metric))
        .collect()
}

fn table(families: &BTreeMap<String, Metric>) -> String {
    let mut table = "| metric | type | labels | |\n|---|---|---|---|\n".to_owned();
    for (name, metric) in families {
        let labels: Vec<String> = metric.labels.iter().map(label).collect();
        table += &format!(
            "| `{name}` | {} | {} | {} |\n",
            metric.kind,
            labels.join("; "),
            metric.help
        );
    }
    table
}

fn label((key, values): (&String, &BTreeSet<String>)) -> String {
    if key == "version" || values.len() > SPELLED {
        return format!("`{key}`");
    }
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    format!("`{key}`: {}", values.join(", "))
}

async fn scrape(service: &Service) -> BTreeMap<String, Metric> {
    let url = format!("http://{}/metrics", service.http);
    let answer = testing::client()
        .get(url)
        .header("accept", "application/openmetrics-text")
        .send()
        .await
        .expect("the service answers");
    families(&answer.text().await.expect("a text"))
}

#[tokio::test]
async fn the_inventory_is_what_both_services_serve() {
    let folder = tempfile::tempdir().expect("a folder");
    let cloud = Service::cloud(&folder.path().join("data"), "127.0.0.1:0").await;
    let edge = Service::edge(&folder.path().join("spool.sqlite"), &cloud.grpc).await;
    let mut inventory = read("docs/metrics.md");
    for (name, service) in [("edge-node", &edge), ("cloud-decoder", &cloud)] {
        let begin = format!("<!-- {name}: generated -->\n");
        let (head, rest) = inventory.split_once(&begin).expect("the table's beginning");
        let (_, tail) = rest.split_once("<!-- end -->").expect("the table's end");
        let table = table(&scrape(service).await);
        inventory = format!("{head}{begin}{table}<!-- end -->{tail}");
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(repository("docs/metrics.md"), &inventory).expect("it can be written");
    }
    assert!(
        inventory == read("docs/metrics.md"),
        "the metrics changed; UPDATE_GOLDEN=1 accepts it. They are now:\n{inventory}"
    );
}

/// Names of metrics in a text: of the services, of processes, and recorded ones.
fn names(text: &str) -> BTreeSet<String> {
    let other = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':');
    let prefixes = [
        "edge_node_",
        "edge_node:",
        "cloud_decoder_",
        "cloud_decoder:",
        "process_",
    ];
    let ours = |word: &&str| prefixes.iter().any(|prefix| word.starts_with(prefix));
    text.split(other).filter(ours).map(str::to_owned).collect()
}

/// All that can be asked for: the inventory, with the series of histograms, and what rules record.
fn known() -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for line in read("docs/metrics.md").lines() {
        let mut cells = line.split(" | ");
        let name = cells.next().and_then(|cell| cell.strip_prefix("| `"));
        let Some(name) = name.and_then(|name| name.strip_suffix('`')) else {
            continue;
        };
        known.insert(name.to_owned());
        if cells.next() == Some("histogram") {
            known.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}")));
        }
    }
    let rules = read("deploy/prometheus/rules.yml");
    let recorded = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- record: "));
    known.extend(recorded.map(str::to_owned));
    known
}

fn dashboards() -> Vec<(PathBuf, Value)> {
    let folder = repository("deploy/grafana/dashboards");
    let files = fs::read_dir(&folder).expect("dashboards are there");
    let files = files.map(|file| file.expect("a file").path());
    files
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a dashboard can be read");
            let json = serde_json::from_str(&text);
            let json = json.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path, json)
        })
        .collect()
}

#[test]
fn rules_dashboards_and_docs_ask_for_metrics_that_exist() {
    let known = known();
    assert!(known.len() > 100, "the inventory is not read: {known:?}");
    let mut asked: Vec<(String, String)> = [
        "deploy/prometheus/rules.yml",
        "deploy/prometheus/alerts.yml",
        "deploy/prometheus/tests.yml",
        "docs/metrics.md",
        "docs/operations.md",
    ]
    .map(|file| (file.to_owned(), read(file)))
    .into();
    for (path, dashboard) in dashboards() {
        asked.push((path.display().to_string(), dashboard.to_string()));
    }
    for (file, text) in asked {
        for name in names(&text) {
            assert!(
                known.contains(&name),
                "{file} has {name}, which is no metric"
            );
        }
    }
}

#[test]
fn dashboards_use_the_provisioned_source_and_have_queries() {
    let source = read("deploy/grafana/provisioning/datasources/prometheus.yml");
    assert!(source.contains("uid: prometheus\n"), "{source}");
    let mut uids = BTreeSet::new();
    for (path, dashboard) in dashboards() {
        let shown = path.display();
        let uid = dashboard["uid"].as_str().expect("a uid").to_owned();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        assert_eq!(stem, Some(uid.as_str()), "{shown}");
        assert!(uids.insert(uid), "{shown}: its uid is taken");
        for panel in dashboard["panels"].as_array().expect("panels") {
            let title = &panel["title"];
            if panel["type"] == "row" {
                continue;
            }
            let targets = panel["targets"].as_array().expect("targets");
            assert!(!targets.is_empty(), "{shown}: {title} asks for nothing");
            for target in targets {
                let uid = &target["datasource"]["uid"];
                assert_eq!(uid, "prometheus", "{shown}: {title}");
                let query = target["expr"].as_str().expect("a query");
                assert!(!query.is_empty(), "{shown}: {title}");
            }
        }
    }
    assert_eq!(uids.len(), 4);
}

#[test]
fn every_metric_of_a_service_has_its_prefix() {
    let inventory = read("docs/metrics.md");
    for (name, prefix) in SERVICES {
        let begin = format!("<!-- {name}: generated -->\n");
        let (_, rest) = inventory.split_once(&begin).expect("the table's beginning");
        let (table, _) = rest.split_once("<!-- end -->").expect("the table's end");
        for line in table.lines().skip(2) {
            let metric = line.trim_start_matches("| `");
            assert!(
                metric.starts_with(prefix) || metric.starts_with("process_"),
                "{line}"
            );
        }
    }
}
