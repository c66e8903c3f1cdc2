//! PostgreSQL, three NATS servers and an S3 server for cloud decoders in roles, and the wires to them.

use anyhow::{Result, ensure};
use testing::{
    engines::{Nats, Postgres, Route, S3, installed},
    proxy::{Proxy, Weather},
};

use crate::{object_reader::ObjectReader, place::owned, s3_proxy::S3Proxy, service::Settings};

const NATS_SERVERS: usize = 3;

/// A server that processes share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Server {
    Postgres,
    Nats(usize),
    S3,
}

/// The servers, all of which run until they are dropped.
pub(crate) struct Engines {
    pub(crate) nats: Vec<Nats>,
    /// From one NATS server to another.
    routes: Vec<(usize, usize, Proxy)>,
    pub(crate) postgres: Postgres,
    database: String,
    pub(crate) s3: S3,
    bucket: String,
    /// In front of the S3 server.
    pub(crate) door: S3Proxy,
}

impl Engines {
    /// Starts all on free ports; the NATS servers are a cluster.
    pub(crate) async fn start(seed: u64) -> Result<Self> {
        ensure!(installed(), "the servers are not installed");
        let mut routes = Vec::new();
        for from in 0..NATS_SERVERS {
            for to in (0..NATS_SERVERS).filter(|to| *to != from) {
                routes.push((from, to, Proxy::start(seed).await?));
            }
        }
        let through = routes.iter().map(|(from, to, proxy)| Route {
            from: *from,
            to: *to,
            proxy,
        });
        let through: Vec<_> = through.collect();
        let (mut postgres, nats, mut s3) = tokio::join!(
            Postgres::start(),
            Nats::cluster_through(NATS_SERVERS, &through),
            S3::start()
        );
        Ok(Self {
            nats,
            routes,
            database: postgres.database(),
            postgres,
            bucket: s3.bucket().await,
            door: S3Proxy::start(&s3.endpoint, seed).await?,
            s3,
        })
    }

    /// Wires of one process to all servers, and its settings for them.
    pub(crate) async fn connect(&self, seed: u64) -> Result<(Settings, Vec<(Server, Proxy)>)> {
        let mut wires = Vec::new();
        let mut urls = Vec::new();
        for (number, server) in self.nats.iter().enumerate() {
            let wire = wire(seed, server.address()).await?;
            urls.push(format!("nats://{}", wire.address));
            wires.push((Server::Nats(number), wire));
        }
        let postgres = wire(seed, self.postgres.address()).await?;
        let s3 = wire(seed, self.door.address).await?;
        let catalogue = format!(
            "postgres://postgres@{}/{}",
            postgres.address,
            self.database()
        );
        let mut settings = owned(&[
            ("CLOUD_DECODER_CATALOGUE__URL", &catalogue),
            ("CLOUD_DECODER_QUEUE__URL", &urls.join(",")),
            ("CLOUD_DECODER_OBJECTS__URL", &self.bucket),
            (
                "CLOUD_DECODER_OBJECTS__ENDPOINT",
                &format!("http://{}", s3.address),
            ),
        ]);
        settings.extend(owned(&S3::variables()));
        wires.extend([(Server::Postgres, postgres), (Server::S3, s3)]);
        Ok((settings, wires))
    }

    /// The objects, read past everything that fails.
    pub(crate) fn objects(&self) -> Result<ObjectReader> {
        ObjectReader::bucket(&self.s3.endpoint, &self.bucket)
    }

    /// Sets the weather between a NATS server and the others.
    pub(crate) fn set_routes(&self, server: usize, weather: Weather) {
        let routes = self.routes.iter();
        for (_, _, route) in routes.filter(|(from, to, _)| *from == server || *to == server) {
            route.set_weather(weather);
        }
    }

    /// Name of the database.
    fn database(&self) -> &str {
        let path = self.database.split('?').next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default()
    }
}

async fn wire(seed: u64, to: std::net::SocketAddr) -> Result<Proxy> {
    let wire = Proxy::start(seed).await?;
    wire.set_targets(vec![to]);
    Ok(wire)
}
