//! A camera over HTTP: the client, and the login that the camera asks for.

use std::{str::FromStr as _, time::Duration};

use daemon::{files, proxy};
use http_auth::{PasswordClient, PasswordParams};
use reqwest::{
    Certificate, Response, StatusCode, Url,
    header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE},
};
use tonic::transport::Uri;

use super::{error::SourceError, worker::Worker};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// User and password.
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

impl Worker {
    /// Requests the address. The login that the camera asks for is kept for the next request.
    pub(super) async fn open(&mut self, url: &str) -> Result<Response, SourceError> {
        let client = self.client(url)?;
        let url = Url::parse(url).map_err(|error| SourceError::Later(error.to_string()))?;
        let login = self.login()?;
        let mut answer = self.ask(&client, url, login.as_ref()).await?;
        if answer.status() == StatusCode::UNAUTHORIZED && login.is_some() {
            // There was no login yet, or its nonce is no longer valid.
            self.challenge = Some(challenge(answer.headers())?);
            let url = answer.url().clone();
            answer = self.ask(&client, url, login.as_ref()).await?;
        }
        if answer.status().is_success() {
            return Ok(answer);
        }
        self.challenge = None;
        Err(match (answer.status(), &self.submitter.source.login_file) {
            (StatusCode::UNAUTHORIZED, None) => SourceError::NoLogin,
            (StatusCode::UNAUTHORIZED, Some(path)) => {
                SourceError::Refused(path.display().to_string())
            }
            (status, _) => SourceError::Status(status),
        })
    }

    /// The client. Like browsers, it ignores header lines that are not valid.
    fn client(&self, url: &str) -> Result<reqwest::Client, SourceError> {
        let mut client = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            // Some cameras do not answer without it.
            .user_agent(concat!("patchwire/", env!("CARGO_PKG_VERSION")))
            .http1_ignore_invalid_headers_in_responses(true)
            .http1_allow_spaces_after_header_name_in_responses(true)
            .http1_allow_obsolete_multiline_headers_in_responses(true);
        if let Some(path) = &self.submitter.source.ca {
            let bundle = Certificate::from_pem_bundle(&files::read(path)?)?;
            client = client.tls_certs_only(bundle);
        } else if !url.to_ascii_lowercase().starts_with("https:") {
            // A container image from scratch has no system certificates, so none are loaded.
            client = client.tls_certs_only([]);
        }
        if proxied(url).is_none() {
            client = client.no_proxy();
        }
        Ok(client.build()?)
    }

    async fn ask(
        &mut self,
        client: &reqwest::Client,
        url: Url,
        login: Option<&Login>,
    ) -> Result<Response, SourceError> {
        let mut request = client.get(url.clone());
        if let (Some(login), Some(challenge)) = (login, &mut self.challenge) {
            let uri = match url.query() {
                Some(query) => format!("{}?{query}", url.path()),
                None => url.path().to_owned(),
            };
            let response = challenge.respond(&PasswordParams {
                username: &login.user,
                password: &login.password,
                uri: &uri,
                method: "GET",
                body: None,
            });
            let header = response.map_err(SourceError::Challenge)?;
            let header = HeaderValue::try_from(header);
            let mut header = header.map_err(|error| SourceError::Challenge(error.to_string()))?;
            header.set_sensitive(true);
            request = request.header(AUTHORIZATION, header);
        }
        Ok(request.send().await?)
    }

    /// User and password for the address.
    pub(super) fn login(&self) -> Result<Option<Login>, SourceError> {
        let Some(path) = &self.submitter.source.login_file else {
            return Ok(None);
        };
        let bytes = files::read(path)?;
        let text = std::str::from_utf8(&bytes).unwrap_or_default().trim();
        let login = text.split_once(':').filter(|(user, _)| !user.is_empty());
        let (user, password) =
            login.ok_or_else(|| SourceError::Login(path.display().to_string()))?;
        Ok(Some(Login {
            user: user.to_owned(),
            password: password.to_owned(),
        }))
    }
}

/// The proxy that requests to an address go through.
pub(super) fn proxied(url: &str) -> Option<String> {
    proxy::of(&Uri::from_str(Url::parse(url).ok()?.as_str()).ok()?)
}

/// The login that a camera asks for: Digest where it offers that, otherwise Basic.
fn challenge(headers: &HeaderMap) -> Result<PasswordClient, SourceError> {
    let mut offers = headers.get_all(WWW_AUTHENTICATE).iter().peekable();
    if offers.peek().is_none() {
        // Some cameras do not say which login they want.
        return PasswordClient::try_from("Basic realm=\"\"").map_err(SourceError::Challenge);
    }
    let offers = offers.filter_map(|offer| offer.to_str().ok());
    let client = offers.fold(PasswordClient::builder(), |all, offer| {
        all.challenges(offer)
    });
    client.build().map_err(SourceError::Challenge)
}
