//! Configuration: the example file, precedence and refusals.

use std::{fs, path::Path};

use cloud_decoder::Config;

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    pairs.iter().map(owned).collect()
}

#[test]
fn the_example_file_shows_the_defaults() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("cloud-decoder.example.toml");
    let config = Config::load(Some(&example), [], []).expect("example file");
    assert_eq!(config, Config::default());
}

#[test]
fn flags_win_over_variables_and_these_over_the_file() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("config.toml");
    fs::write(
        &file,
        "data_dir = 'd'\n[decode]\nworkers = 2\nthreads = 3\n[http]\nlisten = '127.0.0.1:1'\n",
    )
    .expect("file");
    let environment = variables(&[
        ("CLOUD_DECODER_DECODE__WORKERS", "4"),
        ("CLOUD_DECODER_HTTP__LISTEN", "127.0.0.1:2"),
        ("CLOUD_DECODER_CONFIG", "elsewhere.toml"),
        ("PATH", "/bin"),
    ]);
    let flags = [("http.listen".to_owned(), "127.0.0.1:3".to_owned())];
    let config = Config::load(Some(&file), environment, flags).expect("config");
    assert_eq!(config.data_dir, Path::new("d"));
    assert_eq!((config.decode.workers, config.decode.threads), (4, 3));
    assert_eq!(config.http.listen.port(), 3);
}

#[test]
fn what_is_wrong_is_named() {
    for (name, value, part) in [
        (
            "CLOUD_DECODER_GRPC__WINDOW",
            "0",
            "grpc.window is 0, allowed are 1 to 1024",
        ),
        (
            "CLOUD_DECODER_ROLE",
            "decode",
            "catalogue.url is not set, role \"decode\" needs catalogue, queue and objects that processes share",
        ),
        (
            "CLOUD_DECODER_GRPC__MAX_STREAMS",
            "0",
            "grpc.max_streams is 0, allowed are 1 to 1000000",
        ),
        ("CLOUD_DECODER_ROLE", "cook", "cook"),
        (
            "CLOUD_DECODER_QUEUE__URL",
            "nats://n:4222",
            "catalogue.url is not set, a catalogue in PostgreSQL, a queue in NATS and objects in S3 go together",
        ),
        (
            "CLOUD_DECODER_CATALOGUE__URL",
            "mysql://u:secret@h/d",
            "catalogue.url is \"mysql://***@h/d\", allowed are addresses with postgres:// or postgresql://",
        ),
        ("CLOUD_DECODER_GRPC__WINDOW", "many", "window"),
        ("CLOUD_DECODER_HTTP__LISTEN", "here", "listen"),
        ("CLOUD_DECODER_COLOUR", "red", "colour"),
    ] {
        let error = Config::load(None, variables(&[(name, value)]), []).expect_err(name);
        assert!(error.to_string().contains(part), "{error}");
    }
    let both = variables(&[
        ("CLOUD_DECODER_DECODER", "mine.safetensors"),
        ("CLOUD_DECODER_DECODE__FAST", "true"),
    ]);
    let error = Config::load(None, both, []).expect_err("two decoders");
    let reason = "decode.fast is about the embedded decoders, and `decoder` names another";
    assert!(error.to_string().starts_with(reason), "{error}");
    let error = Config::load(Some(Path::new("absent.toml")), [], []).expect_err("no file");
    assert!(error.to_string().contains("absent.toml"), "{error}");
}

#[test]
fn the_effective_configuration_is_printed_and_reads_back() {
    let folder = tempfile::tempdir().expect("folder");
    let run = |arguments: &[&str]| {
        let run = std::process::Command::new(env!("CARGO_BIN_EXE_cloud-decoder"))
            .args(arguments)
            .output()
            .expect("run");
        assert!(run.status.success(), "{run:?}");
        String::from_utf8(run.stdout).expect("text")
    };
    let told = run(&["config", "--set", "decode.workers=5"]);
    for line in [
        "workers = 5 # flag",
        "window = 32 # default",
        "# max_age_s is not set",
    ] {
        assert!(told.lines().any(|told| told == line), "{line} in\n{told}");
    }
    let printed = folder.path().join("printed.toml");
    std::fs::write(&printed, &told).expect("write");
    let mut meant = Config::default();
    meant.decode.workers = 5;
    let read = Config::load(Some(&printed), [], []).expect("it reads back");
    assert_eq!(read, meant);

    let schema: serde_json::Value =
        serde_json::from_str(&run(&["config", "--schema"])).expect("JSON");
    let defaults = serde_json::to_value(Config::default()).expect("a value");
    for key in defaults.as_object().expect("an object").keys() {
        assert!(schema["properties"][key].is_object(), "{key}: {schema}");
    }
}

#[test]
fn secrets_in_addresses_are_not_printed_wherever_they_stand() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("cloud.toml");
    let text = r#"
        [catalogue]
        url = "postgres://u:hush@db/frames?password=hush&sslmode=require"
        [queue]
        url = "nats://u:hush@a:1,nats://hush@b:2"
        [objects]
        url = "s3://bucket/prefix"
        endpoint = "https://key:hush@s3.example:9000/?token=hush"
        [trace]
        otlp_endpoint = "http://u:hush@otlp.example:4317"
    "#;
    std::fs::write(&file, text).expect("write");
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_cloud-decoder"))
        .args(["config", "--config"])
        .arg(&file)
        .output()
        .expect("run");
    assert!(run.status.success(), "{run:?}");
    let told = String::from_utf8(run.stdout).expect("text");
    assert!(!told.contains("hush"), "{told}");
    for part in [
        "\"postgres://***@db/frames?password=***&sslmode=***\"",
        "\"nats://***@a:1,nats://***@b:2\"",
        "\"https://***@s3.example:9000/?token=***\"",
        "\"s3://bucket/prefix\"",
    ] {
        assert!(told.contains(part), "{part} in\n{told}");
    }
}

#[test]
fn what_other_machines_reach_wants_tls_and_tokens() {
    let load = |settings: &[(&str, &str)]| {
        let flags = settings.iter().map(|&(k, v)| (k.to_owned(), v.to_owned()));
        Config::load(None, [], flags.collect::<Vec<_>>()).map_err(|error| error.to_string())
    };
    let (http, grpc) = (("http.listen", "0.0.0.0:1"), ("grpc.listen", "192.0.2.1:1"));
    let (cert, key) = (("tls.cert", "c"), ("tls.key", "k"));
    let tokens = ("auth.tokens", "t");
    for (settings, part) in [
        (
            &[http][..],
            "http.listen is 0.0.0.0:1, which other machines",
        ),
        (&[grpc], "grpc.listen is 192.0.2.1:1, which other machines"),
        (&[http, tokens], "http.listen"),
        (&[grpc, cert, key], "grpc.listen"),
        (&[key], "tls.key goes with tls.cert"),
        (&[("grpc.client_ca", "c")], "grpc.client_ca needs tls.cert"),
    ] {
        let error = load(settings).expect_err(part);
        assert!(error.contains(part) && !error.contains('\n'), "{error}");
    }
    for settings in [
        &[http, grpc, cert, key, tokens][..],
        &[http, grpc, ("insecure", "true")],
        &[cert, key, ("grpc.client_ca", "c")],
    ] {
        load(settings).expect("a configuration");
    }
}
