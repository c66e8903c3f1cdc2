//! Whose a request is where proxies stand in front: the address that it is counted for.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use axum::http::{Extensions, HeaderMap};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::places::{Pass, group};

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Addresses that begin with the same bits, `ADDRESS/BITS` or one `ADDRESS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// It is not of the form `ADDRESS` or `ADDRESS/BITS`.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no address and no network, allowed are ADDRESS and ADDRESS/BITS")]
pub struct NoNetwork(String);

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let wrong = || NoNetwork(text.chars().take(80).collect());
        let (address, bits) = match text.split_once('/') {
            None => (text, None),
            Some((address, bits)) => (address, Some(bits.parse().map_err(|_| wrong())?)),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if bits > most {
            return Err(wrong());
        }
        Ok(Self { address, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Network {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

impl Network {
    fn has(&self, address: IpAddr) -> bool {
        let (own, other, all) = match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits().into(), other.to_bits().into(), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits(), other.to_bits(), 128),
            _ => return false,
        };
        let differ: u128 = own ^ other;
        differ.checked_shr(all - u32::from(self.bits)).unwrap_or(0) == 0
    }
}

/// The address that a request is counted for: that of its connection; behind a trusted proxy the last one in
/// `X-Forwarded-For` that is none of a trusted proxy. Of IPv6 its network.
pub fn client(extensions: &Extensions, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let pass = extensions.get::<Pass>();
    let mut client = pass.map_or(IpAddr::from([0; 4]), Pass::address);
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

/// Some proxies add the port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let with_port = || text.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    bare.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::places::Places;

    fn counted(peer: &str, forwarded: &[&str]) -> String {
        let place = Places::new(1, 1).enter(peer.parse().expect("address"));
        let place = place.expect("a place");
        let mut extensions = Extensions::new();
        extensions.insert(place.pass());
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_str(value).expect("value"));
        }
        let trusted = ["10.1.0.0/16", "2001:db8::1"].map(|text| text.parse().expect("network"));
        client(&extensions, &headers, &trusted).to_string()
    }

    #[test]
    fn only_trusted_proxies_say_whose_a_request_is() {
        for (peer, forwarded, expected) in [
            ("192.0.2.1", &["198.51.100.7"][..], "192.0.2.1"),
            ("10.1.2.3", &[], "10.1.2.3"),
            ("10.1.2.3", &["198.51.100.7"], "198.51.100.7"),
            ("::ffff:10.1.2.3", &["198.51.100.7:4711"], "198.51.100.7"),
            // What the client wrote itself stands to the left.
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
