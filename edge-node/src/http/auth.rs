//! Checks tokens, before any byte of a request's body is read.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::header::AUTHORIZATION,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use daemon::{
    forwarded::client,
    http_error::HttpError,
    slots::Peer,
    tokens::{Kind, Refusal},
};

use super::state::App;

/// Lets a request pass that has a token of one of the kinds, or needs none.
pub(super) async fn needs(
    State((app, kinds)): State<(Arc<App>, &'static [Kind])>,
    request: Request,
    next: Next,
) -> Response {
    let header = request.headers().get(AUTHORIZATION);
    match app
        .authenticator
        .check(header.map(|value| value.as_bytes()), kinds)
    {
        Ok(_) => {
            if let Some(peer) = request.extensions().get::<Peer>() {
                peer.authenticated();
            }
            next.run(request).await
        }
        Err(refusal) => {
            app.metrics.unauthorized.inc();
            if matches!(refusal, Refusal::Unknown) {
                let proxies = &app.config.http.trusted_proxies;
                let client = client(request.extensions(), request.headers(), proxies);
                app.guesses.wrong(client).await;
            }
            HttpError::from(refusal).into_response()
        }
    }
}
