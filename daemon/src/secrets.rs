//! Hides secrets in addresses before they are shown.
//!
//! The addresses are not parsed with the `url` crate: they may be lists, stand inside error messages, and contain
//! passwords with unescaped characters, which a strict parser would not recognize as secret.

use serde_json::Value as Json;

const HIDDEN: &str = "***";

/// The text with each address in it shortened: without user info, values of the query, and fragment. Logins and keys
/// can be in any of these.
pub fn hide(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, address) = rest.split_at(at + 3);
        shown.push_str(before);
        let (address, behind) = address.split_at(end(address));
        hide_one(address, &mut shown);
        rest = behind;
    }
    shown + rest
}

/// A value with all addresses in it as [`hide`] shows them.
pub fn hidden(value: &Json) -> Json {
    match value {
        Json::String(text) => hide(text).into(),
        Json::Array(values) => values.iter().map(hidden).collect(),
        Json::Object(members) => {
            let members = members.iter();
            let members = members.map(|(name, value)| (name.clone(), hidden(value)));
            Json::Object(members.collect())
        }
        other => other.clone(),
    }
}

/// Length of an address, given the text after its scheme: up to a blank, or up to a comma before the next address.
fn end(address: &str) -> usize {
    let mut ends = address.match_indices([',', ' ', '\t', '\n']);
    let next = ends.find(|&(at, separator)| {
        let scheme = address[at + 1..]
            .split_once("://")
            .map(|(scheme, _)| scheme);
        let letters = |scheme: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "+.-".contains(c);
            !scheme.is_empty() && scheme.trim_start().chars().all(allowed)
        };
        separator != "," || scheme.is_some_and(letters)
    });
    next.map_or(address.len(), |(at, _)| at)
}

fn hide_one(address: &str, shown: &mut String) {
    let (address, fragment) = match address.split_once('#') {
        Some((address, _)) => (address, true),
        None => (address, false),
    };
    let (place, query) = match address.split_once('?') {
        Some((place, query)) => (place, Some(query)),
        None => (address, None),
    };
    // Up to the last `@`, even beyond a slash, which may be unescaped in a password.
    match place.rsplit_once('@') {
        Some((_, place)) => {
            shown.push_str(HIDDEN);
            shown.push('@');
            shown.push_str(place);
        }
        // Otherwise a password contains a `?`.
        None if !is_port(place) => shown.push_str(HIDDEN),
        None => shown.push_str(place),
    }
    for (index, pair) in query.into_iter().flat_map(|q| q.split('&')).enumerate() {
        shown.push(if index == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, "")) => shown.push_str(&format!("{name}=")),
            Some((name, _)) => shown.push_str(&format!("{name}={HIDDEN}")),
            None if pair.is_empty() => {}
            None => shown.push_str(HIDDEN),
        }
    }
    if fragment {
        shown.push('#');
        shown.push_str(HIDDEN);
    }
}

/// Whether the text after the host's colon, if any, is a number.
fn is_port(place: &str) -> bool {
    let host = place.split('/').next().unwrap_or(place);
    let behind = host.rsplit(']').next().unwrap_or(host);
    let port = behind.split_once(':').map_or("", |(_, port)| port);
    port.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_are_shown_without_their_secrets() {
        for (text, shown) in [
            ("postgres://u:secret@h/d", "postgres://***@h/d"),
            (
                "postgres://h/d?user=u&password=se,cr/et&sslmode=require",
                "postgres://h/d?user=***&password=***&sslmode=***",
            ),
            ("postgres://h/d?user=u:p@x", "postgres://h/d?user=***"),
            (
                "nats://u:secret@a:1, nats://token@b:2,tls://c",
                "nats://***@a:1, nats://***@b:2,tls://c",
            ),
            ("nats://u:s/e,c@b", "nats://***@b"),
            ("nats://u:s?e@b", "nats://***?***"),
            ("nats://[2001:db8::1]:4222", "nats://[2001:db8::1]:4222"),
            (
                "https://key:secret@s3.example:9000",
                "https://***@s3.example:9000",
            ),
            (
                "https://s3.example/?X-Amz-Signature=ab#frag",
                "https://s3.example/?X-Amz-Signature=***#***",
            ),
            ("http://cam/live?secret", "http://cam/live?***"),
            ("http://127.0.0.1:50051", "http://127.0.0.1:50051"),
            ("s3://bucket/prefix", "s3://bucket/prefix"),
            ("127.0.0.1:8090", "127.0.0.1:8090"),
            ("/etc/a@b?c=d", "/etc/a@b?c=d"),
            ("", ""),
        ] {
            assert_eq!(hide(text), shown, "{text}");
        }
    }

    #[test]
    fn they_are_found_at_any_depth() {
        let value =
            json!({ "a": [{ "url": "rtsp://u:p@cam/1" }], "b": { "c": 1, "d": "http://h?k=v" } });
        let shown =
            json!({ "a": [{ "url": "rtsp://***@cam/1" }], "b": { "c": 1, "d": "http://h?k=***" } });
        assert_eq!(hidden(&value), shown);
    }
}
