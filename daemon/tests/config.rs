//! Reading a configuration: precedence, what is skipped, and the sentences of errors.

use std::{net::SocketAddr, path::Path};

use daemon::{
    config::{Log, LogFormat, load, within, wrong},
    origins::Origin,
};
use serde::Deserialize;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    workers: u32,
    name: String,
    colour: String,
    log: Log,
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
    pairs.iter().map(owned).collect()
}

#[test]
fn later_sources_win_and_the_rest_is_default() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("config.toml");
    std::fs::write(&file, "workers = 1\nname = 'a'\ncolour = 'red'\n").expect("file");
    let environment = owned(&[
        ("TEST_DAEMON_NAME", "b"),
        ("TEST_DAEMON_COLOUR", "blue"),
        ("TEST_DAEMON_LOG__FORMAT", "json"),
        ("TEST_DAEMON_CONFIG", "elsewhere.toml"),
        ("OTHER_WORKERS", "9"),
    ]);
    let flags = owned(&[("colour", "green")]);
    let (settings, origins): (Settings, _) =
        load("TEST_DAEMON", Some(&file), environment, flags).expect("settings");
    let expected = Settings {
        workers: 1,
        name: "b".into(),
        colour: "green".into(),
        log: Log {
            format: LogFormat::Json,
            ..Log::default()
        },
    };
    assert_eq!(settings, expected);

    let told = [
        ("workers", Origin::File(file)),
        ("name", Origin::Environment("TEST_DAEMON_NAME".into())),
        ("colour", Origin::Flag),
        (
            "log.format",
            Origin::Environment("TEST_DAEMON_LOG__FORMAT".into()),
        ),
        ("log.filter", Origin::Default),
    ];
    for (key, origin) in told {
        assert_eq!(*origins.of(key), origin, "{key}");
    }
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let environment = owned(&[
        ("TEST_DAEMON_NAME", ""),
        ("TEST_DAEMON_WORKERS", ""),
        ("TEST_DAEMON_LOG__FILTER", ""),
    ]);
    let (settings, origins): (Settings, _) =
        load("TEST_DAEMON", None, environment, []).expect("settings");
    assert_eq!(settings, Settings::default());
    assert_eq!(*origins.of("name"), Origin::Default);
}

#[test]
fn what_kubernetes_says_of_services_is_no_setting() {
    let links = [
        ("TEST_DAEMON_SERVICE_HOST", "10.0.0.1"),
        ("TEST_DAEMON_SERVICE_PORT", "8080"),
        ("TEST_DAEMON_SERVICE_PORT_HTTP_WEB", "8080"),
        ("TEST_DAEMON_PORT", "tcp://10.0.0.1:8080"),
        ("TEST_DAEMON_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("TEST_DAEMON_PORT_8080_TCP_PROTO", "tcp"),
        ("TEST_DAEMON_PORT_8080_TCP_PORT", "8080"),
        ("TEST_DAEMON_PORT_8080_TCP_ADDR", "10.0.0.1"),
        // Of a service whose name only begins as ours.
        ("TEST_DAEMON_METRICS_SERVICE_HOST", "10.0.0.2"),
        ("TEST_DAEMON_METRICS_PORT", "udp://10.0.0.2:9090"),
        ("TEST_DAEMON_METRICS_PORT_9090_UDP_ADDR", "10.0.0.2"),
    ];
    let more = [("TEST_DAEMON_NAME", "gate"), ("TEST_DAEMONS_PORT", "1")];
    let environment = owned(&[&links[..], &more].concat());
    let (settings, origins): (Settings, _) =
        load("TEST_DAEMON", None, environment, []).expect("settings");
    assert_eq!(settings.name, "gate");
    let mut names = links.map(|(name, _)| name);
    names.sort_unstable();
    assert_eq!(origins.ignored(), names);

    // A name that only resembles one is an unknown key, as before.
    for name in [
        "TEST_DAEMON_PORT",
        "TEST_DAEMON_SUPPORT",
        "TEST_DAEMON_PORT_X_TCP",
    ] {
        let error = load::<Settings>("TEST_DAEMON", None, owned(&[(name, "8080")]), []);
        let told = error.expect_err(name).to_string();
        assert!(told.contains("unknown field"), "{told}");
    }
}

#[test]
fn an_unknown_key_is_told_with_where_it_is() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("config.toml");
    std::fs::write(&file, "[log]\nfiltr = 'info'\n").expect("file");
    let told = |file: Option<&Path>, environment: &[(&str, &str)]| {
        let read = load::<Settings>("TEST_DAEMON", file, owned(environment), []);
        read.expect_err("an unknown key").to_string()
    };
    let of_file = told(Some(&file), &[]);
    let place = format!("file {} has it", file.display());
    assert!(
        of_file.contains("`filtr`") && of_file.ends_with(&place),
        "{of_file}"
    );

    let underscore = told(None, &[("TEST_DAEMON_LOG_FILTER", "info")]);
    for part in [
        "unknown field `log_filter`",
        "environment TEST_DAEMON_LOG_FILTER has it",
        "two underscores",
    ] {
        assert!(underscore.contains(part), "{underscore}");
    }
    let section = told(None, &[("TEST_DAEMON_LOG__FILTR", "info")]);
    assert!(
        section.ends_with("environment TEST_DAEMON_LOG__FILTR has it"),
        "{section}"
    );
}

#[test]
fn an_address_to_listen_on_may_be_a_name_of_this_machine() {
    #[derive(Debug, Deserialize)]
    struct Door {
        #[serde(deserialize_with = "daemon::config::listen")]
        listen: SocketAddr,
    }
    let open = |text: &str| load::<Door>("TEST_DAEMON", None, [], owned(&[("listen", text)]));
    for (text, address) in [
        ("localhost:8080", "127.0.0.1:8080"),
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("[::1]:8080", "[::1]:8080"),
    ] {
        let (door, _) = open(text).expect(text);
        assert_eq!(door.listen.to_string(), address);
    }
    for text in ["nowhere.invalid:8080", "localhost", ":8080", "8080"] {
        let told = open(text).expect_err(text).to_string();
        for part in [text, "allowed are ADDRESS:PORT and NAME:PORT", "listen"] {
            assert!(told.contains(part), "{told}");
        }
    }
}

#[test]
fn what_cannot_be_read_is_told_in_one_sentence() {
    let folder = tempfile::tempdir().expect("folder");
    let broken = folder.path().join("broken.toml");
    std::fs::write(&broken, "workers = [1,\nname = \n").expect("file");
    let absent = Path::new("absent.toml");
    for (file, flag, part) in [
        (None, ("colur", "red"), "colur"),
        (None, ("workers", "many"), "many"),
        (None, ("log.format", "xml"), "xml"),
        (None, ("workers", "nats://u:hush@h"), "nats://***@h"),
        (Some(absent), ("name", "a"), "absent.toml"),
        (Some(broken.as_path()), ("name", "a"), "TOML"),
    ] {
        let error = load::<Settings>("TEST_DAEMON", file, [], owned(&[flag])).expect_err(part);
        let told = error.to_string();
        assert!(told.starts_with("configuration cannot be read: "), "{told}");
        assert!(told.contains(part) && !told.contains('\n'), "{told}");
        assert!(!told.contains("hush"), "{told}");
    }
}

#[test]
fn a_range_holds_its_ends_and_is_told() {
    for inside in [1, 5, 64] {
        within("decode.workers", inside, 1, 64).expect("inside");
    }
    for (outside, sentence) in [
        (0, "decode.workers is 0, allowed are 1 to 64"),
        (65, "decode.workers is 65, allowed are 1 to 64"),
    ] {
        let error = within("decode.workers", outside, 1, 64).expect_err(sentence);
        assert_eq!(error.to_string(), sentence);
    }
    assert_eq!(
        wrong("name", "a\nb", "letters").to_string(),
        "name is \"a\\nb\", allowed are letters"
    );
}
