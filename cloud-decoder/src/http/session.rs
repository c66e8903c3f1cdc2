//! `/api/v1/session`: logging in and out, and the layer that lets viewers through.

use axum::{
    Extension, Json,
    extract::{Request, State, rejection::JsonRejection},
    http::{Extensions, HeaderMap, Method, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};
use daemon::{slots::Peer, tokens::Kind};
use serde::{Deserialize, Serialize};
use tokio::time::Duration;
use utoipa::ToSchema;

use super::{
    app::App,
    authentication::{SESSION, cookie},
    error::{ApiError, ErrorBody},
};

/// Passes on requests of viewers, with the viewer in their extensions.
pub(super) async fn viewers(State(app): State<App>, mut request: Request, next: Next) -> Response {
    match app
        .authentication
        .viewer(request.method(), request.headers())
    {
        Ok(viewer) => {
            if let Some(peer) = request.extensions().get::<Peer>() {
                peer.authenticated();
            }
            request.extensions_mut().insert(viewer);
            next.run(request).await
        }
        Err(refusal) => {
            let (extensions, headers) = (request.extensions(), request.headers());
            app.authentication
                .refused(&refusal, extensions, headers)
                .await;
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
        (status = 400, description = "No login, or no token is needed", body = ErrorBody),
        (status = 401, description = "Unknown or revoked token", body = ErrorBody),
        (status = 403, description = "The token is not a viewer's", body = ErrorBody),
        (status = 415, description = "There is a content-encoding", body = ErrorBody),
    ),
)]
pub(super) async fn login(
    State(app): State<App>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    login: Result<Json<Login>, JsonRejection>,
) -> Result<Response, ApiError> {
    if let Some(coding) = daemon::http::compressed(&headers) {
        return Err(ApiError::content_encoding(&coding));
    }
    let Json(Login { token }) = login.map_err(|_| {
        ApiError::bad_request("a login is JSON of the form {\"token\": \"...\"}, of 1 KiB at most")
    })?;
    let holder = app
        .authentication
        .gate
        .check_token(token.trim(), &[Kind::Viewer]);
    let holder = match holder {
        Ok(holder) => holder,
        Err(refusal) => {
            let mut extensions = Extensions::new();
            if let Some(Extension(peer)) = peer {
                extensions.insert(peer);
            }
            app.authentication
                .refused(&refusal, &extensions, &headers)
                .await;
            return Err(refusal.into());
        }
    };
    let Some(holder) = holder else {
        return Err(ApiError::bad_request("no token is needed here"));
    };
    tracing::info!(viewer = holder.name, "logged in");
    let value = app.authentication.begin(holder)?;
    let cookie = app.authentication.set_cookie(&value, SESSION);
    Ok((StatusCode::NO_CONTENT, cookie).into_response())
}

/// Logs out: the cookie becomes invalid.
#[utoipa::path(delete, path = "/api/v1/session", responses((status = 204, description = "Logged out")))]
pub(super) async fn logout(State(app): State<App>, headers: HeaderMap) -> Response {
    if let Some(value) = cookie(&headers) {
        app.authentication.end(value);
    }
    let cookie = app.authentication.set_cookie("", Duration::ZERO);
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
    let viewer = app.authentication.viewer(&method, &headers).ok();
    let viewer = viewer.and_then(|v| v.holder).map(|holder| holder.name);
    Json(SessionJson {
        needed: !app.authentication.gate.is_open(),
        viewer,
    })
}
