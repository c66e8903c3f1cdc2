//! Removes meaningless additions from request paths: a slash at the end, and a query parameter `_`, which some clients
//! change with each request to bypass caches.

use axum::{
    http::{Request, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};

/// Extension of a request whose path had a slash at its end.
#[derive(Clone, Copy, Debug)]
pub struct Slashed;

impl Slashed {
    /// Redirects to the page without the slash, because relative links of the page would not work with it.
    pub fn redirect(page: &str) -> Response {
        let location = [(header::LOCATION, format!("../{page}"))];
        (StatusCode::PERMANENT_REDIRECT, location).into_response()
    }
}

/// The request without these additions.
pub(crate) fn simplify<B>(mut request: Request<B>) -> Request<B> {
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
