//! Both real services behind certificates and tokens, made and used as docs/secure.md says.

mod common;
mod services;

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use common::{fails, patchwire, photographs, succeeds};
use reqwest::Client;
use serde_json::Value;
use services::{Service, binary, text};
use testing::eventually;

const DELIVERY: Duration = Duration::from_secs(60);

/// Runs the services' `token` command and gives what it prints.
async fn token(service: &str, arguments: &[&str]) -> String {
    let run = Command::new(binary(service).await)
        .arg("token")
        .args(arguments)
        .output()
        .expect("it starts");
    assert!(run.status.success(), "{arguments:?}: {run:?}");
    String::from_utf8(run.stdout)
        .expect("text")
        .trim()
        .to_owned()
}

async fn healthy(service: &str, settings: &[(&str, &str)], http: &str) -> bool {
    let run = Command::new(binary(service).await)
        .envs(settings.iter().copied())
        .args(["healthcheck", "--http-listen", http])
        .output();
    run.expect("it starts").status.success()
}

#[tokio::test]
async fn frames_travel_and_are_seen_with_certificates_and_tokens_and_no_log_has_a_secret() {
    let folder = tempfile::tempdir().expect("folder");
    let path = |name: &str| folder.path().join(name);
    let file = |name: &str| text(&path(name)).to_owned();
    succeeds(["certs", &file("pki"), "--node", "edge-1"]);
    for name in ["ca", "cloud", "edge-1"] {
        assert!(path(&format!("pki/{name}.pem")).exists(), "{name}");
    }
    let (cloud_tokens, edge_tokens) = (file("cloud-tokens"), file("edge-tokens"));
    let add = ["--add-to", &cloud_tokens];
    let node = token("cloud-decoder", &["node", "edge-1", add[0], add[1]]).await;
    let viewer = token("cloud-decoder", &["viewer", "ops", add[0], add[1]]).await;
    let sender = token("edge-node", &["sender", "gate", add[0], &edge_tokens]).await;
    fs::write(path("node.token"), &node).expect("file");
    fs::write(path("sender.token"), &sender).expect("file");

    let cloud_settings = [
        ("CLOUD_DECODER_HTTP__LISTEN", "127.0.0.1:0"),
        ("CLOUD_DECODER_GRPC__LISTEN", "127.0.0.1:0"),
        ("CLOUD_DECODER_DATA_DIR", &file("data")),
        ("CLOUD_DECODER_LOG__FILTER", "trace"),
        ("CLOUD_DECODER_TLS__CERT", &file("pki/cloud.pem")),
        ("CLOUD_DECODER_TLS__KEY", &file("pki/cloud.key")),
        ("CLOUD_DECODER_GRPC__CLIENT_CA", &file("pki/ca.pem")),
        ("CLOUD_DECODER_AUTH__TOKENS", &cloud_tokens),
    ];
    let log = |name: &str| Stdio::from(File::create(path(name)).expect("log"));
    let cloud = Service::start("cloud-decoder", &cloud_settings, log("cloud.log")).await;
    let port = cloud.grpc.rsplit(':').next().expect("a port");
    let edge_settings = [
        ("EDGE_NODE_HTTP__LISTEN", "127.0.0.1:0"),
        ("EDGE_NODE_SPOOL__PATH", &file("spool.sqlite")),
        ("EDGE_NODE_LOG__FILTER", "trace"),
        ("EDGE_NODE_TLS__CERT", &file("pki/edge-1.pem")),
        ("EDGE_NODE_TLS__KEY", &file("pki/edge-1.key")),
        ("EDGE_NODE_AUTH__TOKENS", &edge_tokens),
        (
            "EDGE_NODE_UPLINK__ENDPOINT",
            &format!("https://localhost:{port}"),
        ),
        ("EDGE_NODE_UPLINK__TOKEN_FILE", &file("node.token")),
        ("EDGE_NODE_UPLINK__TLS__CA", &file("pki/ca.pem")),
        ("EDGE_NODE_UPLINK__TLS__CERT", &file("pki/edge-1.pem")),
        ("EDGE_NODE_UPLINK__TLS__KEY", &file("pki/edge-1.key")),
    ];
    let edge = Service::start("edge-node", &edge_settings, log("edge.log")).await;
    assert!(healthy("edge-node", &edge_settings, &edge.http).await);

    let photograph = photographs()[0].clone();
    let url = format!("https://{}", edge.http);
    let (ca, secret) = (file("pki/ca.pem"), file("sender.token"));
    let send = |rest: &[&str]| {
        let all = [
            &["send", "--edge", &url, "--wait"],
            rest,
            &[text(&photograph)],
        ]
        .concat();
        all.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let told = tokio::task::spawn_blocking({
        let (good, without) = (
            send(&["--ca", &ca, "--token-file", &secret]),
            send(&["--ca", &ca]),
        );
        move || (succeeds(good), patchwire(without))
    });
    let (sent, without) = told.await.expect("both end");
    assert!(sent.contains("delivered"), "{sent}");
    let without_token = String::from_utf8_lossy(&without.stdout).into_owned();
    assert!(
        without_token.contains("401: a token is needed"),
        "{without_token}, {}",
        String::from_utf8_lossy(&without.stderr)
    );

    let root = reqwest::Certificate::from_pem(&fs::read(path("pki/ca.pem")).expect("ca"));
    let client = Client::builder().tls_certs_only([root.expect("PEM")]);
    let client = client.build().expect("client");
    let frames = format!("https://{}/api/v1/frames", cloud.http);
    assert_eq!(
        client.get(&frames).send().await.expect("HTTPS").status(),
        401
    );
    eventually("the frame is decoded", DELIVERY, async || {
        let answer = client.get(&frames).bearer_auth(&viewer).send().await.ok()?;
        let list: Value = answer.json().await.ok()?;
        (list["frames"][0]["state"] == "decoded").then_some(())
    })
    .await;
    let login = client
        .post(format!("https://{}/api/v1/session", cloud.http))
        .json(&serde_json::json!({ "token": viewer }))
        .send()
        .await
        .expect("HTTPS");
    let cookie = login.headers()["set-cookie"].to_str().expect("text");
    let cookie = cookie.split(';').next().expect("a pair").to_owned();
    let seen = client.get(&frames).header("cookie", &cookie).send().await;
    assert_eq!(seen.expect("HTTPS").status(), 200);
    let session = cookie.split_once('=').expect("a pair").1.to_owned();
    eventually("the cloud is ready", DELIVERY, async || {
        healthy("cloud-decoder", &cloud_settings, &cloud.http)
            .await
            .then_some(())
    })
    .await;
    cloud.kill().await;
    edge.kill().await;

    for name in ["cloud.log", "edge.log"] {
        let log = fs::read_to_string(path(name)).expect("log");
        assert!(log.contains("TRACE"), "{name} has everything");
        for secret in [&node, &viewer, &sender, &session] {
            assert!(!log.contains(secret.as_str()), "{name} has {secret}");
        }
    }
}

#[test]
fn certs_keeps_what_is_there_and_adds_what_is_not() {
    let folder = tempfile::tempdir().expect("folder");
    let pki = text(folder.path());
    let read = |name: &str| fs::read(folder.path().join(name)).expect(name);
    succeeds(["certs", pki, "--cloud", "cloud.example", "--node", "edge-1"]);
    let names = ["ca.pem", "ca.key", "cloud.pem", "cloud.key", "edge-1.pem"];
    let before = names.map(read);
    let told = succeeds(["certs", pki, "--node", "edge-1", "--node", "edge-2"]);
    assert!(
        told.contains("kept") && told.contains("edge-2.pem"),
        "{told}"
    );
    assert_eq!(names.map(read), before);
    for key in ["ca.key", "cloud.key", "edge-2.key"] {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(folder.path().join(key))
            .expect(key)
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600, "{key}");
    }
    assert!(fails(["certs", pki, "--node", "cloud"]).contains("cannot be called cloud"));
    fs::write(Path::new(pki).join("ca.key"), "x").expect("file");
    assert!(fails(["certs", pki, "--node", "edge-3"]).contains("ca.key is not a private key"));
}

/// The folders of two hosts, which the services' own user can read, inside one that nobody else can enter.
#[test]
fn provision_makes_a_folder_for_each_host_and_keeps_what_is_there() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("folder");
    let all = folder.path().join("secrets");
    let read = |name: &str| fs::read_to_string(all.join(name)).expect(name);
    let mode = |name: &str| {
        let file = fs::metadata(all.join(name)).expect(name);
        file.permissions().mode() & 0o777
    };
    let begin = ["provision", text(&all), "--cloud", "2001:db8::1"];
    let first = [&begin[..], &["--node", "edge-1=192.0.2.7,gate.example"]].concat();
    succeeds(first);
    let files = [
        ("ca.key", 0o600),
        ("cloud", 0o755),
        ("cloud/ca.pem", 0o644),
        ("cloud/cloud.key", 0o644),
        ("cloud/tokens", 0o644),
        ("cloud.viewer.token", 0o600),
        ("edge-1/edge-1.key", 0o644),
        ("edge-1/uplink.token", 0o644),
        ("edge-1/tokens", 0o644),
        ("edge-1.camera.token", 0o600),
        ("edge-1.viewer.token", 0o600),
    ];
    assert_eq!(mode(""), 0o700);
    for (name, expected) in files {
        assert_eq!(mode(name), expected, "{name}");
    }
    let told = read("edge-1/edge-node.toml");
    assert!(
        told.contains("endpoint = \"https://[2001:db8::1]:50051\""),
        "{told}"
    );

    let unchanged = || {
        let files = files.iter().map(|(name, _)| *name);
        let files = files.filter(|name| !["cloud", "cloud/tokens"].contains(name));
        files.map(read).collect::<Vec<_>>()
    };
    let before = unchanged();
    let second = [
        &begin[..],
        &[
            "--node",
            "edge-1",
            "--node",
            "edge-2",
            "--uplink-port",
            "443",
        ],
    ];
    succeeds(second.concat());
    assert_eq!(unchanged(), before);
    let holders = read("cloud/tokens");
    for line in ["viewer ops ", "node edge-1 ", "node edge-2 "] {
        assert_eq!(holders.matches(line).count(), 1, "{line}: {holders}");
    }
    assert!(read("edge-2/edge-node.toml").contains("https://[2001:db8::1]:443"));

    for name in ["cloud", "ca", ".."] {
        let told = fails([&begin[..], &["--node", name]].concat());
        assert!(told.contains(&format!("cannot be called {name}")), "{told}");
    }
    fs::set_permissions(&all, fs::Permissions::from_mode(0o755)).expect("changed");
    let told = fails(begin);
    assert!(told.contains("chmod 700"), "{told}");
}
