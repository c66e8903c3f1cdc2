//! Authenticates viewers, by a token in `authorization` or by the cookie of a login.
//!
//! The cookie is not the token but a session's random value, of which the service keeps the SHA-256 in memory. The
//! cookie in a browser's files is useless after a logout, a restart or a week.

use std::{
    collections::HashMap,
    future::pending,
    sync::{Arc, Mutex, PoisonError},
};

use axum::http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method,
    header::{AUTHORIZATION, COOKIE, HOST, ORIGIN, SET_COOKIE},
};
use daemon::{
    forwarded::{Network, client},
    guesses::Guesses,
    tokens::{self, Authenticator, Kind, Principal, Refusal},
};
use tokio::time::{Duration, Instant, sleep_until};

use super::error::ApiError;
use crate::{Config, metrics::Metrics};

/// Lifetime of a login.
pub(super) const SESSION: Duration = Duration::from_secs(7 * 86_400);
/// Most logins at once; one more ends the oldest.
const MAX_SESSIONS: usize = 1024;
const COOKIE_NAME: &str = "patchwire-session";

/// Authenticates viewers.
#[derive(Clone)]
pub(crate) struct Authentication {
    pub(super) gate: Authenticator,
    metrics: Arc<Metrics>,
    sessions: Arc<Mutex<HashMap<[u8; 32], Session>>>,
    /// Whether the cookie may travel only over TLS.
    secure: bool,
    guesses: Arc<Guesses>,
    proxies: Arc<[Network]>,
    pub(super) open_metrics: bool,
}

#[derive(Clone)]
struct Session {
    holder: Principal,
    until: Instant,
}

/// The viewer who made a request, in its extensions; without a holder where no token is needed.
#[derive(Clone)]
pub(super) struct Viewer {
    pub(super) holder: Option<Principal>,
    until: Option<Instant>,
}

impl Viewer {
    /// The name of the token, for records of who did something.
    pub(super) fn name(&self) -> &str {
        self.holder
            .as_ref()
            .map_or("anonymous", |holder| &holder.name)
    }
}

impl Authentication {
    pub(crate) fn new(gate: Authenticator, metrics: Arc<Metrics>, config: &Config) -> Self {
        Self {
            gate,
            metrics,
            sessions: Arc::default(),
            secure: config.tls.on(),
            guesses: Arc::default(),
            proxies: config.http.trusted_proxies.clone().into(),
            open_metrics: config.auth.open_metrics,
        }
    }

    pub(super) fn viewer(&self, method: &Method, headers: &HeaderMap) -> Result<Viewer, Refusal> {
        let header = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        if self.gate.is_open() || header.is_some() {
            let holder = self.gate.check(header, &[Kind::Viewer])?;
            return Ok(Viewer {
                holder,
                until: None,
            });
        }
        let session = cookie(headers).and_then(|value| self.session(value));
        let session = session.ok_or(Refusal::Missing)?;
        if !method.is_safe() && from_elsewhere(headers) {
            return Err(Refusal::Missing);
        }
        Ok(Viewer {
            holder: Some(session.holder),
            until: Some(session.until),
        })
    }

    fn session(&self, value: &str) -> Option<Session> {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.get(&tokens::digest(value))?.clone();
        let good = session.until > Instant::now() && self.gate.knows(&session.holder);
        good.then_some(session)
    }

    /// Begins a session and gives the value of its cookie.
    pub(super) fn begin(&self, holder: Principal) -> Result<String, ApiError> {
        let value = tokens::random().map_err(ApiError::unavailable)?;
        let until = Instant::now() + SESSION;
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, s| s.until > Instant::now() && self.gate.knows(&s.holder));
        if sessions.len() >= MAX_SESSIONS {
            let oldest = sessions.iter().min_by_key(|(_, s)| s.until);
            if let Some(key) = oldest.map(|(key, _)| *key) {
                sessions.remove(&key);
            }
        }
        sessions.insert(tokens::digest(&value), Session { holder, until });
        Ok(value)
    }

    pub(super) fn end(&self, value: &str) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.remove(&tokens::digest(value));
    }

    pub(super) fn set_cookie(&self, value: &str, max_age: Duration) -> [(HeaderName, String); 1] {
        let secure = if self.secure { "; Secure" } else { "" };
        let seconds = max_age.as_secs();
        // Without a path the cookie is valid below the path of the session, which is /api/v1 after any prefix of a
        // proxy.
        let cookie =
            format!("{COOKIE_NAME}={value}; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
        [(SET_COOKIE, cookie)]
    }

    /// Counts a refusal, and delays the answer to a wrong token if its sender has sent many.
    pub(super) async fn refused(
        &self,
        refusal: &Refusal,
        extensions: &Extensions,
        headers: &HeaderMap,
    ) {
        self.metrics.unauthorized.inc();
        if matches!(refusal, Refusal::Unknown) {
            let client = client(extensions, headers, &self.proxies);
            self.guesses.wrong(client).await;
        }
    }

    /// Waits until the viewer's token or session ends.
    pub(super) async fn ended(self, viewer: Viewer) {
        let expired = async {
            match viewer.until {
                Some(until) => sleep_until(until).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = self.gate.revoked(viewer.holder.as_ref()) => {}
            () = expired => {}
        }
    }
}

pub(super) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let values = headers.get_all(COOKIE).iter();
    let mut pairs = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs.find_map(|(name, value)| (name == COOKIE_NAME).then_some(value))
}

/// Whether the request comes from a page of another origin, by the browser's headers: `SameSite` alone admits other
/// ports of this host. A browser that sends no `Sec-Fetch-Site`, as without TLS, sends `Origin`, which must match the
/// requested host.
fn from_elsewhere(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site != "same-origin";
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return false;
    };
    let text = |value: &HeaderValue| Some(value.to_str().ok()?.to_ascii_lowercase());
    let origin = text(origin);
    let host = headers.get(HOST).and_then(text);
    let (Some(origin), Some(host)) = (origin, host) else {
        return true;
    };
    let own = match origin.split_once("://") {
        Some(("http", own)) => (own, ":80"),
        Some(("https", own)) => (own, ":443"),
        _ => return true,
    };
    let bare = |host: &str| host.strip_suffix(own.1).unwrap_or(host).to_owned();
    bare(own.0) != bare(&host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_another_origin_is_from_elsewhere() {
        for (site, origin, elsewhere) in [
            (None, None, false),
            (Some("same-origin"), None, false),
            (Some("same-site"), None, true),
            (Some("cross-site"), Some("http://cloud.example:8090"), true),
            (None, Some("http://cloud.example:8090"), false),
            (None, Some("HTTP://Cloud.Example:8090"), false),
            (None, Some("http://cloud.example"), true),
            (None, Some("http://cloud.example:8091"), true),
            (None, Some("http://other.example:8090"), true),
            (None, Some("null"), true),
            (None, Some(""), true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("cloud.example:8090"));
            for (name, value) in [("sec-fetch-site", site), ("origin", origin)] {
                if let Some(value) = value {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            assert_eq!(from_elsewhere(&headers), elsewhere, "{site:?} {origin:?}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("cloud.example"));
        headers.insert(
            ORIGIN,
            HeaderValue::from_static("https://cloud.example:443"),
        );
        assert!(!from_elsewhere(&headers), "the default port says nothing");
    }
}
