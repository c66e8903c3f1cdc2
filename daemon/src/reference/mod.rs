//! The reference of an HTTP API: its OpenAPI document, and a self-contained page that shows it.

use axum::{
    Extension, Router,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use utoipa::{
    Modify,
    openapi::{
        OpenApi,
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

use crate::lenient::Slashed;

/// Adds the bearer token to a document.
pub struct Tokens;

impl Modify for Tokens {
    fn modify(&self, document: &mut OpenApi) {
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", bearer);
        let needed = SecurityRequirement::new("token", Vec::<String>::new());
        document.security = Some(vec![SecurityRequirement::default(), needed]);
    }
}

/// `BASE/openapi.json`, and at `BASE/docs` the page. BASE is empty or one segment.
pub fn router<S: Clone + Send + Sync + 'static>(base: &str, document: &OpenApi) -> Router<S> {
    let document = Bytes::from(text(document));
    let json = move || {
        let document = document.clone();
        async move { asset("application/json", document) }
    };
    // All links are relative, so that the page works behind a proxy that adds a prefix.
    let root = if base.is_empty() { "./" } else { "../" };
    let page = include_str!("page.html").replace("{root}", root);
    let page = move |slashed: Option<Extension<Slashed>>| {
        let page = page.clone();
        async move {
            match slashed {
                Some(_) => Slashed::redirect("docs"),
                None => asset("text/html; charset=utf-8", page),
            }
        }
    };
    let script = async || asset("text/javascript; charset=utf-8", include_str!("page.js"));
    let style = async || asset("text/css; charset=utf-8", include_str!("page.css"));
    Router::new()
        .route(&format!("{base}/openapi.json"), get(json))
        .route(&format!("{base}/docs"), get(page))
        .route(&format!("{base}/docs/page.js"), get(script))
        .route(&format!("{base}/docs/page.css"), get(style))
}

/// The document as it is served.
pub fn text(document: &OpenApi) -> String {
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

fn asset(media_type: &'static str, body: impl IntoResponse) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, "no-cache"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
