//! The dashboard's files, embedded from `web/`.

use std::sync::LazyLock;

use axum::{
    Extension,
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use daemon::lenient::Slashed;
use rust_embed::RustEmbed;
use sha2::{Digest as _, Sha256};

use super::{error::ApiError, view_files};

#[derive(RustEmbed)]
#[folder = "web/"]
struct Web;

/// The one file that is not in `web/`: the list of files that each view needs.
const NEEDS: &str = "needs.js";
static NEEDS_MODULE: LazyLock<String> = LazyLock::new(view_files::module::<Web>);
static NEEDS_HASH: LazyLock<[u8; 32]> = LazyLock::new(|| Sha256::digest(&*NEEDS_MODULE).into());

pub(super) async fn serve(
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    slashed: Option<Extension<Slashed>>,
) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return ApiError::method_not_allowed().into_response();
    }
    let path = match uri.path().trim_start_matches('/') {
        "" => "index.html",
        path => path,
    };
    let file = match path {
        NEEDS => Some((NEEDS_MODULE.clone().into_bytes().into(), *NEEDS_HASH)),
        path => Web::get(path).map(|file| (file.data, file.metadata.sha256_hash())),
    };
    let Some((data, hash)) = file else {
        return daemon::http_error::no_route(uri).await.into_response();
    };
    if slashed.is_some() {
        return Slashed::redirect(path.rsplit('/').next().unwrap_or(path));
    }
    let etag = format!("\"{}\"", hex::encode(&hash[..16]));
    // A new version of the service has new files under the same names.
    let caching = [
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::ETAG, etag.clone()),
    ];
    if headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|tag| tag == etag.as_str())
    {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    let content_type = [(header::CONTENT_TYPE, media_type(path))];
    (caching, content_type, data).into_response()
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        _ => "text/plain; charset=utf-8",
    }
}
