//! Who may look: viewers with a token in `authorization`, or with the cookie that the login page got for one.
//!
//! The cookie is not the token but a session's random value, of which the service keeps the SHA-256 in memory:
//! what lies in a browser's files is worth nothing after a logout, a restart or a week.

use std::{
    collections::HashMap,
    future::pending,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Extension, Json,
    extract::{Request, State, rejection::JsonRejection},
    http::{
        Extensions, HeaderMap, HeaderValue, Method, StatusCode,
        header::{AUTHORIZATION, COOKIE, HOST, ORIGIN, SET_COOKIE},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use daemon::{
    forwarded::{Network, client},
    guesses::Guesses,
    slots::Peer,
    tokens::{self, Authenticator, Kind, Principal, Refusal},
};
use serde::{Deserialize, Serialize};
use tokio::time::{Duration, Instant, sleep_until};
use utoipa::ToSchema;

use super::{
    App,
    error::{ApiError, Told},
};
use crate::Config;

/// How long a login lasts.
const SESSION: Duration = Duration::from_secs(7 * 86_400);
/// Most logins at once; the oldest ends for one more.
const MAX_SESSIONS: usize = 1024;
const COOKIE_NAME: &str = "patchwire-session";

/// The door to everything that shows frames or figures.
#[derive(Clone)]
pub(crate) struct Entrance {
    gate: Authenticator,
    sessions: Arc<Mutex<HashMap<[u8; 32], Session>>>,
    /// Whether the cookie may travel with TLS alone.
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

/// Who asked, in a request's extensions; nobody in particular where no token is needed.
#[derive(Clone)]
pub(super) struct Visitor {
    holder: Option<Principal>,
    until: Option<Instant>,
}

impl Visitor {
    /// The name of the token, for notes of who did something.
    pub(super) fn name(&self) -> &str {
        self.holder
            .as_ref()
            .map_or("anonymous", |holder| &holder.name)
    }
}

impl Entrance {
    pub(crate) fn new(gate: Authenticator, config: &Config) -> Self {
        Self {
            gate,
            sessions: Arc::default(),
            secure: config.tls.on(),
            guesses: Arc::default(),
            proxies: config.http.trusted_proxies.clone().into(),
            open_metrics: config.auth.open_metrics,
        }
    }

    fn visitor(&self, method: &Method, headers: &HeaderMap) -> Result<Visitor, Refusal> {
        let header = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        if self.gate.is_open() || header.is_some() {
            let holder = self.gate.check(header, &[Kind::Viewer])?;
            return Ok(Visitor {
                holder,
                until: None,
            });
        }
        let session = cookie(headers).and_then(|value| self.session(value));
        let session = session.ok_or(Refusal::Missing)?;
        if !method.is_safe() && from_elsewhere(headers) {
            return Err(Refusal::Missing);
        }
        Ok(Visitor {
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
    fn begin(&self, holder: Principal) -> Result<String, ApiError> {
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

    fn end(&self, value: &str) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.remove(&tokens::digest(value));
    }

    fn set_cookie(&self, value: &str, max_age: Duration) -> [(axum::http::HeaderName, String); 1] {
        let secure = if self.secure { "; Secure" } else { "" };
        let seconds = max_age.as_secs();
        // Without a path it is good where the session is, /api/v1 behind whatever prefix a proxy has, and no further.
        let cookie =
            format!("{COOKIE_NAME}={value}; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
        [(SET_COOKIE, cookie)]
    }

    /// Counts a refusal, and lets the answer to a wrong token wait where its sender has sent many.
    async fn refused(
        &self,
        app: &App,
        refusal: &Refusal,
        extensions: &Extensions,
        headers: &HeaderMap,
    ) {
        app.metrics.unauthorized.inc();
        if matches!(refusal, Refusal::Unknown) {
            let client = client(extensions, headers, &self.proxies);
            self.guesses.wrong(client).await;
        }
    }

    /// Waits until the visitor may look no longer.
    pub(super) async fn over(self, visitor: Visitor) {
        let expired = async {
            match visitor.until {
                Some(until) => sleep_until(until).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = self.gate.revoked(visitor.holder.as_ref()) => {}
            () = expired => {}
        }
    }
}

/// Goes on with requests of viewers, and knows in its extensions whose they are.
pub(super) async fn viewers(State(app): State<App>, mut request: Request, next: Next) -> Response {
    match app.door.visitor(request.method(), request.headers()) {
        Ok(visitor) => {
            if let Some(pass) = request.extensions().get::<Peer>() {
                pass.authenticated();
            }
            request.extensions_mut().insert(visitor);
            next.run(request).await
        }
        Err(refusal) => {
            let (extensions, headers) = (request.extensions(), request.headers());
            app.door.refused(&app, &refusal, extensions, headers).await;
            ApiError::from(refusal).into_response()
        }
    }
}

/// A viewer's token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    token: String,
}

/// Logs in: a cookie for a viewer's token.
#[utoipa::path(
    post,
    path = "/api/v1/session",
    request_body = Login,
    responses(
        (status = 204, description = "Logged in; the cookie is in Set-Cookie"),
        (status = 400, description = "No login, or no token is needed", body = Told),
        (status = 401, description = "The token is not known", body = Told),
        (status = 403, description = "It is not a viewer's", body = Told),
        (status = 415, description = "There is a content-encoding", body = Told),
    ),
)]
pub(super) async fn login(
    State(app): State<App>,
    pass: Option<Extension<Peer>>,
    headers: HeaderMap,
    login: Result<Json<Login>, JsonRejection>,
) -> Result<Response, ApiError> {
    if let Some(coding) = daemon::http::compressed(&headers) {
        return Err(ApiError::content_encoding(&coding));
    }
    let Json(Login { token }) = login.map_err(|_| {
        ApiError::bad_request("a login is JSON of the form {\"token\": \"...\"}, of 1 KiB at most")
    })?;
    let holder = app.door.gate.check_token(token.trim(), &[Kind::Viewer]);
    let holder = match holder {
        Ok(holder) => holder,
        Err(refusal) => {
            let mut extensions = Extensions::new();
            if let Some(Extension(pass)) = pass {
                extensions.insert(pass);
            }
            app.door
                .refused(&app, &refusal, &extensions, &headers)
                .await;
            return Err(refusal.into());
        }
    };
    let Some(holder) = holder else {
        return Err(ApiError::bad_request("no token is needed here"));
    };
    tracing::info!(viewer = holder.name, "logged in");
    let value = app.door.begin(holder)?;
    let cookie = app.door.set_cookie(&value, SESSION);
    Ok((StatusCode::NO_CONTENT, cookie).into_response())
}

/// Logs out: the cookie is good no more.
#[utoipa::path(delete, path = "/api/v1/session", responses((status = 204, description = "Logged out")))]
pub(super) async fn logout(State(app): State<App>, headers: HeaderMap) -> Response {
    if let Some(value) = cookie(&headers) {
        app.door.end(value);
    }
    let cookie = app.door.set_cookie("", Duration::ZERO);
    (StatusCode::NO_CONTENT, cookie).into_response()
}

/// Whether a token is needed, and who is logged in.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionJson {
    needed: bool,
    /// Name of the token's holder.
    viewer: Option<String>,
}

/// Whether a token is needed, and who is logged in.
#[utoipa::path(get, path = "/api/v1/session", responses((status = 200, description = "The session", body = SessionJson)))]
pub(super) async fn session(
    State(app): State<App>,
    method: Method,
    headers: HeaderMap,
) -> Json<SessionJson> {
    let visitor = app.door.visitor(&method, &headers).ok();
    let viewer = visitor.and_then(|v| v.holder).map(|holder| holder.name);
    Json(SessionJson {
        needed: !app.door.gate.is_open(),
        viewer,
    })
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let values = headers.get_all(COOKIE).iter();
    let mut pairs = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs.find_map(|(name, value)| (name == COOKIE_NAME).then_some(value))
}

/// Whether a browser says that a page of another origin asks: `SameSite` lets other ports of this host through. One that does
/// not say so in `Sec-Fetch-Site`, as where there is no TLS, names the origin, which must be the host that it asks.
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
