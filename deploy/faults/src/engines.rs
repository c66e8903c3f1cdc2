//! PostgreSQL, three NATS servers and an S3 server for cloud decoders in roles.

use anyhow::{Result, ensure};
use testing::engines::{Nats, Postgres, S3, installed};

use crate::{place::owned, service::Settings};

/// The servers, all of which run until they are dropped.
pub(crate) struct Engines {
    pub(crate) nats: Vec<Nats>,
    pub(crate) postgres: Postgres,
    pub(crate) s3: S3,
    /// What cloud decoders are told of them.
    pub(crate) settings: Settings,
}

impl Engines {
    /// Starts all on free ports; the NATS servers are a cluster.
    pub(crate) async fn start() -> Result<Self> {
        ensure!(installed(), "the servers are not installed");
        let (mut postgres, nats, mut s3) =
            tokio::join!(Postgres::start(), Nats::cluster(3), S3::start());
        let urls: Vec<_> = nats.iter().map(Nats::url).collect();
        let mut settings = owned(&[
            ("CLOUD_DECODER_CATALOGUE__URL", &postgres.database()),
            ("CLOUD_DECODER_QUEUE__URL", &urls.join(",")),
            ("CLOUD_DECODER_OBJECTS__URL", &s3.bucket().await),
            ("CLOUD_DECODER_OBJECTS__ENDPOINT", &s3.endpoint),
        ]);
        settings.extend(owned(&S3::variables()));
        Ok(Self {
            nats,
            postgres,
            s3,
            settings,
        })
    }
}
