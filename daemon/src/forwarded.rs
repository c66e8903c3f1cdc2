//! The client of a request behind proxies: the address that the request counts for.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use axum::http::{Extensions, HeaderMap};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::slots::{Peer, group};

const FORWARDED_FOR: &str = "x-forwarded-for";

/// A network, `ADDRESS/BITS`, or a single `ADDRESS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Network(IpNet);

/// A text that is not of the form `ADDRESS` or `ADDRESS/BITS`.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no address and no network, allowed are ADDRESS and ADDRESS/BITS")]
pub struct NoNetwork(String);

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let single = || text.parse::<IpAddr>().map(IpNet::from).ok();
        let network = text.parse().ok().or_else(single);
        let wrong = || NoNetwork(text.chars().take(80).collect());
        network.map(Self).ok_or_else(wrong)
    }
}

impl TryFrom<String> for Network {
    type Error = NoNetwork;

    fn try_from(text: String) -> Result<Self, NoNetwork> {
        text.parse()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl Network {
    fn has(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

/// The address that a request counts for: that of its connection, or, behind a trusted proxy, the last one in
/// `X-Forwarded-For` that is not a trusted proxy's. An IPv6 address counts as its network.
pub fn client(extensions: &Extensions, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let peer = extensions.get::<Peer>();
    let mut client = peer.map_or(IpAddr::from([0; 4]), Peer::address);
    let values = headers.get_all(FORWARDED_FOR).iter();
    let values: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
    let named = values.iter().flat_map(|value| value.split(','));
    let mut named: Vec<_> = named.map(str::trim).collect();
    while trusted.iter().any(|network| network.has(client)) {
        let Some(before) = named.pop().and_then(address) else {
            break;
        };
        client = before;
    }
    group(client)
}

/// Parses an address. Some proxies add the port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let with_port = || text.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    bare.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::slots::Slots;

    fn counted(peer: &str, forwarded: &[&str]) -> String {
        let slot = Slots::new(1, 1).enter(peer.parse().expect("address"));
        let slot = slot.expect("a slot");
        let mut extensions = Extensions::new();
        extensions.insert(slot.peer());
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_str(value).expect("value"));
        }
        let trusted = ["10.1.0.0/16", "2001:db8::1"].map(|text| text.parse().expect("network"));
        client(&extensions, &headers, &trusted).to_string()
    }

    #[test]
    fn only_trusted_proxies_name_the_client() {
        for (peer, forwarded, expected) in [
            ("192.0.2.1", &["198.51.100.7"][..], "192.0.2.1"),
            ("10.1.2.3", &[], "10.1.2.3"),
            ("10.1.2.3", &["198.51.100.7"], "198.51.100.7"),
            ("::ffff:10.1.2.3", &["198.51.100.7:4711"], "198.51.100.7"),
            // Entries to the left may be made up by the client.
            ("10.1.2.3", &["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
            (
                "10.1.2.3",
                &["203.0.113.9", "198.51.100.7, 10.1.9.9"],
                "198.51.100.7",
            ),
            ("10.1.2.3", &["nobody, 10.1.9.9"], "10.1.9.9"),
            ("10.2.2.3", &["198.51.100.7"], "10.2.2.3"),
            ("2001:db8::1", &["[2001:db8:7:8:9::1]:80"], "2001:db8:7:8::"),
            ("2001:db8::2", &["198.51.100.7"], "2001:db8::"),
        ] {
            assert_eq!(counted(peer, forwarded), expected, "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn networks_are_read_as_they_are_written() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "::/0", "192.0.2.1/32"] {
            assert_eq!(text.parse::<Network>().expect("network").to_string(), text);
        }
        for text in ["", "10.0.0.0/33", "10.0.0/8", "name", "10.0.0.0/", "::/129"] {
            text.parse::<Network>().expect_err(text);
        }
        let all: Network = "0.0.0.0/0".parse().expect("network");
        assert!(all.has([192, 0, 2, 1].into()));
    }
}
