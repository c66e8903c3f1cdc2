//! Proxies for outgoing HTTP from the environment: `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`.

use std::net::IpAddr;

use axum::http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

/// The proxy that a request to `uri` goes through, without its login. Requests to this machine never use a proxy.
pub fn of(uri: &Uri) -> Option<String> {
    through(&Matcher::from_env(), uri)
}

fn through(proxies: &Matcher, uri: &Uri) -> Option<String> {
    if is_loopback(uri.host()?) {
        return None;
    }
    let proxy = proxies.intercept(uri)?;
    let proxy = proxy.uri();
    let authority = proxy.authority()?.as_str();
    let host = authority.rsplit('@').next().unwrap_or(authority);
    Some(format!("{}://{host}", proxy.scheme_str().unwrap_or("http")))
}

/// Whether a host is this machine.
fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => name == "localhost" || name.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_reached_without_a_proxy() {
        let proxies = Matcher::builder()
            .all("http://user:secret@proxy.example:3128")
            .no("camera.example")
            .build();
        for (uri, proxy) in [
            ("http://192.0.2.7/live", Some("http://proxy.example:3128")),
            ("https://other.example/", Some("http://proxy.example:3128")),
            ("http://camera.example/live", None),
            ("http://127.0.0.1:8080/", None),
            ("http://127.1.2.3/", None),
            ("http://[::1]:8080/", None),
            ("http://LOCALHOST:8080/", None),
            ("http://gate.localhost/", None),
            (
                "http://localhost.example/",
                Some("http://proxy.example:3128"),
            ),
        ] {
            let uri = uri.parse().expect("a URI");
            assert_eq!(through(&proxies, &uri).as_deref(), proxy, "{uri}");
        }
    }
}
