//! Tokens: their file, who is let in, and that a line that is gone is a token that is gone.

use std::time::Duration;

use daemon::tokens::{Auth, Authenticator, Kind, Principals, Refusal, append, from_file, generate};
use tempfile::TempDir;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);
const KINDS: &[Kind] = &[Kind::Node, Kind::Viewer];

fn bearer(token: &str) -> Vec<u8> {
    format!("Bearer {token}").into_bytes()
}

#[tokio::test]
async fn a_token_opens_what_its_kind_may_and_nothing_else() {
    let folder = TempDir::new().expect("folder");
    let path = folder.path().join("tokens");
    let (node, line) = generate(Kind::Node, "edge-1").expect("token");
    append(&path, &line).expect("file");
    let (viewer, line) = generate(Kind::Viewer, "ops").expect("token");
    append(&path, &line).expect("file");
    let text = std::fs::read_to_string(&path).expect("file");
    assert!(!text.contains(&node) && !text.contains(&viewer), "{text}");

    let auth = Auth {
        tokens: Some(path),
        ..Auth::default()
    };
    let gate = Authenticator::new(&auth, KINDS).expect("gate");
    let check = |value: &[u8]| gate.check(Some(value), &[Kind::Node]);
    let holder = check(&bearer(&node)).expect("a node").expect("a holder");
    assert_eq!((holder.kind, holder.name.as_str()), (Kind::Node, "edge-1"));
    assert!(check(format!("bearer {node}").as_bytes()).is_ok());

    let (stranger, _) = generate(Kind::Node, "edge-1").expect("token");
    let cut = &node[..node.len() - 1];
    for (value, refusal) in [
        (bearer(&viewer), Refusal::Kind(Kind::Viewer)),
        (bearer(&stranger), Refusal::Unknown),
        (bearer(cut), Refusal::Unknown),
        (bearer(""), Refusal::Unknown),
        (bearer(&"x".repeat(100_000)), Refusal::Unknown),
        (node.clone().into_bytes(), Refusal::Missing),
        (format!("Basic {node}").into_bytes(), Refusal::Missing),
        (vec![0xff, 0xfe], Refusal::Missing),
    ] {
        assert_eq!(check(&value), Err(refusal), "{value:?}");
    }
    assert_eq!(gate.check(None, &[Kind::Node]), Err(Refusal::Missing));
    let open = Authenticator::default();
    assert_eq!(open.check(None, &[Kind::Node]), Ok(None));
}

#[tokio::test]
async fn a_token_whose_line_is_gone_is_refused_and_who_came_with_it_is_told() {
    let folder = TempDir::new().expect("folder");
    let path = folder.path().join("tokens");
    let (old, old_line) = generate(Kind::Node, "edge-1").expect("token");
    let (new, new_line) = generate(Kind::Node, "edge-1").expect("token");
    append(&path, &old_line).expect("file");
    let auth = Auth {
        tokens: Some(path.clone()),
        ..Auth::default()
    };
    let gate = Authenticator::new(&auth, KINDS).expect("gate");
    let holder = gate.check(Some(&bearer(&old)), KINDS).expect("known");

    append(&path, &new_line).expect("file");
    let both = async {
        while gate.check(Some(&bearer(&new)), KINDS).is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, both).await.expect("the new one is read");
    gate.check(Some(&bearer(&old)), KINDS)
        .expect("both are good");

    // A file that cannot be used changes nothing.
    std::fs::write(&path, "node edge-1 md5:00\n").expect("file");
    let revoked = gate.revoked(holder.as_ref());
    let early = timeout(Duration::from_secs(5), revoked).await;
    early.expect_err("the old contents stay in use");

    std::fs::write(&path, format!("# one left\n\n{new_line}\n")).expect("file");
    let revoked = gate.revoked(holder.as_ref());
    timeout(PATIENCE, revoked).await.expect("told");
    assert_eq!(
        gate.check(Some(&bearer(&old)), KINDS),
        Err(Refusal::Unknown)
    );
    gate.check(Some(&bearer(&new)), KINDS).expect("still good");
}

#[test]
fn wrong_lines_are_named() {
    let hash = "0".repeat(64);
    for (line, part) in [
        ("node edge-1".to_owned(), "line 2: it is not of the form"),
        (
            format!("sender cam sha256:{hash}"),
            "line 2: its first word is not one of node, viewer",
        ),
        (
            format!("node edge/1 sha256:{hash}"),
            "line 2: a name has 1 to 64 characters",
        ),
        ("node edge-1 sha256:00".to_owned(), "64 hexadecimal digits"),
        (
            format!("node edge-1 {hash}"),
            "its last word is not sha256:",
        ),
    ] {
        let error = Principals::parse(&format!("# comment\n{line}"), KINDS).expect_err(part);
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_token_file_has_one_token() {
    let folder = TempDir::new().expect("folder");
    let path = folder.path().join("token");
    std::fs::write(&path, "pw_abc\n").expect("file");
    assert_eq!(from_file(&path).expect("token"), "pw_abc");
    for wrong in ["", "two words", "pw_\u{e9}", &"x".repeat(200)] {
        std::fs::write(&path, wrong).expect("file");
        let error = from_file(&path).expect_err("no token").to_string();
        assert!(error.contains("is not one token"), "{error}");
        assert!(wrong.is_empty() || !error.contains(wrong), "{error}");
    }
}
