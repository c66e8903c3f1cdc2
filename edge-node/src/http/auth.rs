//! Asks for tokens, before anything of a request's body is read.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::header::AUTHORIZATION,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use daemon::{
    forwarded::client,
    places::Pass,
    tokens::{Kind, Refusal},
};

use super::error::HttpError;
use crate::node::Node;

/// Goes on with a request that has a token of one of the kinds, where tokens are needed.
pub(super) async fn needs(
    State((node, kinds)): State<(Arc<Node>, &'static [Kind])>,
    request: Request,
    next: Next,
) -> Response {
    let header = request.headers().get(AUTHORIZATION);
    match node.gate.check(header.map(|value| value.as_bytes()), kinds) {
        Ok(_) => {
            if let Some(pass) = request.extensions().get::<Pass>() {
                pass.known();
            }
            next.run(request).await
        }
        Err(refusal) => {
            node.metrics.unauthorized.inc();
            if matches!(refusal, Refusal::Unknown) {
                let proxies = &node.config.http.trusted_proxies;
                let client = client(request.extensions(), request.headers(), proxies);
                node.guesses.wrong(client).await;
            }
            HttpError::from(refusal).into_response()
        }
    }
}
