//! Reading a configuration: precedence, what is skipped, and the sentences of errors.

use std::path::Path;

use daemon::{
    config::{Log, LogFormat, load, within, wrong},
    effective::Origin,
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
fn what_cannot_be_read_is_told_in_one_sentence() {
    let folder = tempfile::tempdir().expect("folder");
    let broken = folder.path().join("broken.toml");
    std::fs::write(&broken, "workers = [1,\nname = \n").expect("file");
    let absent = Path::new("absent.toml");
    for (file, flag, part) in [
        (None, ("colur", "red"), "colur"),
        (None, ("workers", "many"), "many"),
        (None, ("log.format", "xml"), "xml"),
        (Some(absent), ("name", "a"), "absent.toml"),
        (Some(broken.as_path()), ("name", "a"), "TOML"),
    ] {
        let error = load::<Settings>("TEST_DAEMON", file, [], owned(&[flag])).expect_err(part);
        let told = error.to_string();
        assert!(told.starts_with("configuration cannot be read: "), "{told}");
        assert!(told.contains(part) && !told.contains('\n'), "{told}");
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
