//! The binary: refuses a bad configuration, says where it listens, stops on SIGTERM.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Output, Stdio},
    time::Instant,
};

fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloud-decoder"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn healthcheck(http: &str) -> Output {
    let mut command = binary();
    command.args(["healthcheck", "--http-listen", http]);
    command.output().expect("run")
}

#[test]
fn a_bad_configuration_is_one_sentence_and_exit_64() {
    for arguments in [
        &["--set", "grpc.window=0"][..],
        &["--set", "colour=red"],
        &["--http-listen", "here"],
        &["--config", "absent.toml"],
        &["--set", "log.filter=a=b=c"],
    ] {
        let output = binary().args(arguments).output().expect("run");
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        let told = String::from_utf8(output.stderr).expect("text");
        assert_eq!(told.lines().count(), 1, "{arguments:?}: {told}");
        assert!(told.starts_with("cloud-decoder: "), "{told}");
    }
    let output = binary().arg("--colour").output().expect("run");
    assert_eq!(output.status.code(), Some(64));
}

#[test]
fn it_prints_its_addresses_and_stops_on_sigterm() {
    let folder = tempfile::tempdir().expect("folder");
    let decoder = folder.path().join("tiny.safetensors");
    support::write_decoder(&decoder, support::PROGRAM);
    let mut service = binary()
        .args([
            "--http-listen",
            "localhost:0",
            "--grpc-listen",
            "127.0.0.1:0",
        ])
        // As in a Kubernetes namespace that has a service of this name.
        .env("CLOUD_DECODER_PORT", "tcp://10.0.0.1:8090")
        .env("CLOUD_DECODER_SERVICE_HOST", "10.0.0.1")
        // Not set, though a template names them.
        .env("CLOUD_DECODER_CONFIG", "")
        .env("CLOUD_DECODER_AUTH__TOKENS", "")
        .arg("--data-dir")
        .arg(folder.path().join("data"))
        .arg("--decoder")
        .arg(decoder)
        .spawn()
        .expect("spawn");
    let mut line = String::new();
    let stdout = service.stdout.take().expect("stdout");
    BufReader::new(stdout).read_line(&mut line).expect("line");
    let (http, grpc) = line
        .trim_end()
        .strip_prefix("listening http=")
        .and_then(|rest| rest.split_once(" grpc="))
        .expect("addresses");
    assert!(
        http.starts_with("127.0.0.1:") && !http.ends_with(":0"),
        "{line}"
    );
    assert!(
        grpc.starts_with("127.0.0.1:") && !grpc.ends_with(":0"),
        "{line}"
    );

    let deadline = Instant::now() + support::LIMIT;
    let told = loop {
        let check = healthcheck(http);
        if check.status.success() {
            break String::from_utf8(check.stdout).expect("text");
        }
        assert!(Instant::now() < deadline, "{check:?}");
    };
    assert_eq!(told, format!("{http} is ready\n"));

    let id = service.id().to_string();
    let killed = Command::new("kill")
        .args(["-TERM", &id])
        .status()
        .expect("kill");
    assert!(killed.success());
    let status = service.wait().expect("wait");
    let mut log = String::new();
    let mut stderr = service.stderr.take().expect("stderr");
    stderr.read_to_string(&mut log).expect("log");
    assert!(status.success(), "{status}: {log}");
    for part in [
        "WARN",
        "CLOUD_DECODER_PORT, CLOUD_DECODER_SERVICE_HOST",
        "are not settings",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }

    let check = healthcheck(http);
    assert_eq!(check.status.code(), Some(1));
    let told = String::from_utf8(check.stderr).expect("text");
    assert!(
        told.starts_with("cloud-decoder: nothing listens on "),
        "{told}"
    );
    assert_eq!(told.lines().count(), 1, "{told}");
}

mod support;
