//! What clients add to an address without meaning anything by it: a slash at its end, and a query parameter `_` with something
//! new in it each time, which keeps caches from answering.

use axum::{
    http::{Request, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};

/// In a request's extensions: its path had a slash at its end.
#[derive(Clone, Copy, Debug)]
pub struct Slashed;

impl Slashed {
    /// Sends the client to the page of this name without the slash: what a page names relative to itself would be elsewhere.
    pub fn redirect(page: &str) -> Response {
        let location = [(header::LOCATION, format!("../{page}"))];
        (StatusCode::PERMANENT_REDIRECT, location).into_response()
    }
}

/// The request without these.
pub(crate) fn plain<B>(mut request: Request<B>) -> Request<B> {
    let path = match request.uri().path().trim_end_matches('/') {
        "" => "/",
        path => path,
    };
    let asked = request.uri().query().unwrap_or_default();
    let pairs = asked.split('&');
    let kept: Vec<_> = pairs
        .filter(|p| *p != "_" && !p.starts_with("_="))
        .collect();
    let slashed = path.len() < request.uri().path().len();
    if !slashed && kept.len() == asked.split('&').count() {
        return request;
    }
    let wanted = match kept.join("&") {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    };
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = wanted.parse().ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    if slashed {
        request.extensions_mut().insert(Slashed);
    }
    request
}
