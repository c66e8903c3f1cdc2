//! Checks the files in `deploy/` against the services and the toolchain. `deploy/test.sh` and its neighbours run it.

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The Compose files that build our images.
const COMPOSE: [&str; 4] = [
    "deploy/compose.yml",
    "deploy/compose.cloud.yml",
    "deploy/compose.edge.yml",
    "deploy/compose.scale.yml",
];

fn repository(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)
}

fn deployed(file: &str) -> String {
    let path = repository(file);
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

/// Two hosts: what `patchwire provision` has made is a configuration together with what the Compose files add, and lets
/// nobody in without a certificate and a token.
#[test]
fn the_services_of_two_hosts_take_what_was_provisioned() {
    let folder = tempfile::tempdir().expect("folder");
    let secrets = folder.path().join("secrets");
    let path = secrets.to_str().expect("text");
    let cloud = ["provision", path, "--cloud", "cloud.example"];
    common::succeeds([&cloud[..], &["--node", "edge-1"]].concat());

    let file = secrets.join("cloud/cloud-decoder.toml");
    let settings = variables("deploy/compose.cloud.yml", "CLOUD_DECODER_");
    let cloud = cloud_decoder::Config::load(Some(&file), settings, []).expect("cloud");
    assert!(!cloud.insecure && cloud.grpc.client_ca.is_some());
    assert_eq!(cloud.data_dir, Path::new("/data"));

    let file = secrets.join("edge-1/edge-node.toml");
    let settings = variables("deploy/compose.edge.yml", "EDGE_NODE_");
    let edge = edge_node::Config::load(Some(&file), settings, &[]).expect("edge");
    assert!(!edge.insecure);
    assert_eq!(edge.node_id, "edge-1");
    assert_eq!(edge.uplink.endpoint, "https://cloud.example:50051");
    assert_eq!(edge.spool.path, Path::new("/data/spool.sqlite"));
    assert!(edge.http.max_pixels <= cloud.decode.max_pixels);

    let named = [&edge.tls.cert, &edge.tls.key, &edge.auth.tokens]
        .into_iter()
        .chain([&edge.uplink.token_file, &edge.uplink.tls.ca])
        .map(|file| ("edge-1", file))
        .chain([&cloud.tls.cert, &cloud.tls.key, &cloud.auth.tokens].map(|file| ("cloud", file)))
        .chain([("cloud", &cloud.grpc.client_ca)]);
    for (host, file) in named {
        let file = file.as_deref().expect("named");
        let file = file.strip_prefix("/etc/patchwire").expect("mounted there");
        assert!(secrets.join(host).join(file).is_file(), "{host}: {file:?}");
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
    let image = format!("rust:{channel}-slim-bookworm");
    let dockerfile = deployed("deploy/Dockerfile");
    let line = format!("ARG RUST={image}");
    assert!(dockerfile.lines().any(|l| l == line), "no line {line:?}");
    for file in COMPOSE {
        let line = format!("RUST: ${{RUST_IMAGE:-{image}}}");
        assert!(
            deployed(file).lines().any(|l| l.trim() == line),
            "{file} has no line {line:?}"
        );
    }
}

/// Names such as `patchwire/edge-node` belong to nobody in a public registry: whoever takes one could have their image
/// run.
#[test]
fn images_of_ours_are_built_and_never_pulled() {
    for file in COMPOSE {
        let text = deployed(file);
        let blocks = text.split("image: patchwire/").skip(1);
        assert!(blocks.clone().count() > 0, "{file}");
        for block in blocks {
            let mut lines = block.lines().skip(1).map(str::trim);
            assert_eq!(lines.next(), Some("pull_policy: never"), "{file}");
            let builds = lines.next().is_some_and(|line| line.starts_with("build:"));
            assert!(builds, "{file}: an image of ours that cannot be built");
        }
    }
}

/// The paths that the ignore file lets into the build's context. It has no other forms than these.
fn let_in(ignore: &str) -> Vec<&str> {
    let mut lines = ignore.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.next(), Some("*"), "nothing is let in but by name");
    lines
        .map(|line| line.strip_prefix('!').expect("each line lets a path in"))
        .collect()
}

fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        fs::copy(from, to).expect("copied");
        return;
    }
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

/// Whether cargo begins to build the images' binaries in a folder: all members of the workspace are there, and the lock
/// file holds.
fn cargo_begins(folder: &Path) -> Result<(), String> {
    let run = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--edges", "normal,build"])
        .args(["-p", "edge-node", "-p", "cloud-decoder", "-p", "patchwire"])
        .current_dir(folder)
        .output()
        .expect("cargo starts");
    match run.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&run.stderr).into_owned()),
    }
}

#[test]
fn the_context_of_the_images_has_all_that_cargo_needs() {
    let ignore = deployed("deploy/Dockerfile.dockerignore");
    let context = tempfile::tempdir().expect("folder");
    let paths = let_in(&ignore);
    for path in &paths {
        copy(&repository(path), &context.path().join(path));
    }
    cargo_begins(context.path()).expect("a whole workspace");

    // Without any one of them it does not begin, so nothing can be left out unnoticed.
    let aside = tempfile::tempdir().expect("folder");
    for path in paths.iter().filter(|path| !path.ends_with(".sh")) {
        let (here, there) = (context.path().join(path), aside.path().join("it"));
        fs::rename(&here, &there).expect("moved");
        let told = cargo_begins(context.path()).expect_err(path);
        assert!(!told.is_empty(), "{path}");
        fs::rename(&there, &here).expect("moved back");
    }
    cargo_begins(context.path()).expect("as before");
}

/// Every file that went into `patchwire`, which has both services in it: sources, models, migrations, the dashboard.
#[test]
fn the_context_of_the_images_has_every_file_that_is_compiled() {
    let ignore = deployed("deploy/Dockerfile.dockerignore");
    let root = repository("").canonicalize().expect("the repository");
    let inside: Vec<_> = let_in(&ignore).iter().map(|path| root.join(path)).collect();
    let noted = format!("{}.d", env!("CARGO_BIN_EXE_patchwire"));
    let noted = fs::read_to_string(&noted).expect("what cargo notes of a binary");
    let (binary, files) = noted.split_once(": ").expect("BINARY: FILE...");
    let target = Path::new(binary).ancestors().nth(2).expect("a folder");
    let ours: Vec<_> = files
        .split_whitespace()
        .map(Path::new)
        .filter(|file| file.starts_with(&root) && !file.starts_with(target))
        .collect();
    for part in [
        "models/decoder.safetensors",
        "proto/proto",
        "kernels/src/lib.rs",
    ] {
        assert!(ours.contains(&root.join(part).as_path()), "{part}");
    }
    for file in ours {
        let there = inside.iter().any(|path| file.starts_with(path));
        assert!(there, "{} is not let in", file.display());
    }
}
