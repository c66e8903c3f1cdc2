//! What `deploy/` says, against the services and the toolchain that it is about. `deploy/test.sh` runs it.

use std::{fs, path::Path};

fn deployed(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The variables in a Compose file whose names begin with `prefix`, with the defaults for what Compose
/// would take from its own environment.
fn variables(file: &str, prefix: &str) -> Vec<(String, String)> {
    let compose = deployed(file);
    let pairs = compose
        .lines()
        .filter_map(|line| line.trim().split_once(": "));
    pairs
        .filter(|(name, _)| name.starts_with(prefix))
        .map(|(name, value)| {
            let value = value.trim_matches('"');
            let default = value.strip_prefix("${").and_then(|rest| {
                let (_, default) = rest.strip_suffix('}')?.split_once(":-")?;
                Some(default)
            });
            (name.to_owned(), default.unwrap_or(value).to_owned())
        })
        .collect()
}

#[test]
fn the_services_take_their_settings_from_the_compose_file() {
    let file = "deploy/compose.yml";
    let edge = edge_node::Config::load(None, variables(file, "EDGE_NODE_"), &[]).expect("edge");
    let cloud = variables(file, "CLOUD_DECODER_");
    let cloud = cloud_decoder::Config::load(None, cloud, []).expect("cloud");
    assert_eq!(edge.spool.path, Path::new("/data/spool.sqlite"));
    assert_eq!(cloud.data_dir, Path::new("/data"));
    let uplink = format!("http://cloud:{}", cloud.grpc.listen.port());
    assert_eq!(edge.uplink.endpoint, uplink);
    assert!(
        edge.http.max_pixels <= cloud.decode.max_pixels,
        "the cloud must take every frame that the edge does"
    );
}

#[test]
fn so_do_those_of_the_scaled_compose_file() {
    let shared = variables("deploy/compose.scale.yml", "CLOUD_DECODER_");
    for role in ["ingest", "decode", "web"] {
        let role = [("CLOUD_DECODER_ROLE".to_owned(), role.to_owned())];
        let settings = shared.iter().cloned().chain(role);
        cloud_decoder::Config::load(None, settings, []).expect("a configuration");
    }
}

#[test]
fn the_image_builds_with_the_pinned_toolchain() {
    let pinned = deployed("rust-toolchain.toml");
    let channel = pinned
        .lines()
        .find_map(|line| line.strip_prefix("channel = "))
        .expect("a channel")
        .trim_matches('"');
    let dockerfile = deployed("deploy/Dockerfile");
    let line = format!("FROM rust:{channel}-alpine AS build");
    assert!(dockerfile.lines().any(|l| l == line), "no line {line:?}");
}
