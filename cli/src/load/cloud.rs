//! The cloud, as each node calls it: the same hello, limits and pings as an edge node's.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use daemon::one_line;
use edge_node::config::{Uplink, UplinkTls};
use edge_node::uplink::{Greeted, KEEPALIVE_MISSES, LinkError, greet, identity};
use hyper_util::rt::TokioIo;
use patchwire_proto::v1::{Hello, Program};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::transport::{Endpoint, Uri};
use tower::service_fn;

use super::pulse::listened;
use super::tally::Tally;
use crate::args::LoadArgs;

/// Longest wait for a welcome. An edge node waits for 5 s; thousands that call from one machine may be slow for want of
/// it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where nodes connect to, and as what.
pub(super) struct Cloud {
    endpoint: Endpoint,
    settings: Uplink,
    tokens: Option<PathBuf>,
    programs: Vec<Program>,
    pub(super) tally: Arc<Tally>,
}

/// A stream that the cloud has welcomed.
pub(super) type Link = Greeted;

impl Cloud {
    /// Reads the certificates; nothing is connected yet.
    pub(super) async fn new(
        args: &LoadArgs,
        programs: Vec<Program>,
        tally: Arc<Tally>,
    ) -> Result<Self> {
        let settings = Uplink {
            endpoint: args.cloud.clone(),
            tls: UplinkTls {
                ca: args.ca.clone(),
                cert: args.cert.clone(),
                key: args.key.clone(),
                server_name: None,
            },
            ..Uplink::default()
        };
        let url = &args.cloud;
        let endpoint = Endpoint::from_shared(url.clone()).ok();
        let endpoint = endpoint.filter(|e| {
            matches!(e.uri().scheme_str(), Some("http" | "https")) && e.uri().host().is_some()
        });
        let endpoint = endpoint.with_context(|| {
            format!("{url:?} is not of the form http://HOST:PORT or https://HOST:PORT")
        })?;
        let keepalive = Duration::from_secs(settings.keepalive_s);
        let endpoint = endpoint
            .http2_keep_alive_interval(keepalive)
            .keep_alive_timeout(keepalive * KEEPALIVE_MISSES)
            .keep_alive_while_idle(true);
        let (endpoint, _) = identity::load(&settings, endpoint).await?;
        Ok(Self {
            endpoint,
            settings,
            tokens: args.tokens.clone(),
            programs,
            tally,
        })
    }

    /// Its address, as it was given.
    pub(super) fn address(&self) -> &str {
        &self.settings.endpoint
    }

    /// How an edge node is set up by default.
    pub(super) fn settings(&self) -> &Uplink {
        &self.settings
    }

    /// Bits a patch of the frames.
    pub(super) fn bits_per_patch(&self) -> u32 {
        self.programs
            .first()
            .map_or(0, |program| program.latent_bits)
    }

    /// Connects as `node`, says hello and waits for the welcome.
    pub(super) async fn call(&self, node: &str) -> Result<Link> {
        let called = timeout(PATIENCE, self.greeted(node)).await;
        let called = called.map_err(|_| LinkError::NoWelcome(PATIENCE));
        // Its own words, without the chain behind them that repeats them.
        called
            .and_then(|greeted| greeted)
            .map_err(|error| anyhow::Error::msg(one_line(&error)))
    }

    async fn greeted(&self, node: &str) -> Result<Link, LinkError> {
        let token = self.tokens.as_ref();
        let token = token.map(|folder| folder.join(format!("{node}.token")));
        let authorization = token.as_ref().map(identity::authorization).transpose()?;
        let heartbeat = Duration::from_secs(self.settings.keepalive_s);
        let tally = self.tally.clone();
        let connector = service_fn(move |uri: Uri| {
            let tally = tally.clone();
            async move {
                let port = uri.port_u16();
                let https = uri.scheme_str() == Some("https");
                let port = port.unwrap_or(if https { 443 } else { 80 });
                let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
                let stream = TcpStream::connect((host, port)).await?;
                stream.set_nodelay(true)?;
                Ok::<_, std::io::Error>(TokioIo::new(listened(stream, heartbeat, tally)))
            }
        });
        let channel = self.endpoint.connect_with_connector(connector).await?;
        let hello = Hello {
            node_id: node.to_owned(),
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            program_ids: self.programs.iter().map(|p| p.id.clone()).collect(),
            programs: self.programs.clone(),
        };
        greet(
            channel,
            authorization,
            hello,
            self.settings.max_message_bytes,
        )
        .await
    }
}
