//! What a service keeps its frames in: embedded in one process, or shared by many.

use std::{
    error::Error,
    fs::{File, TryLockError},
    path::Path,
    sync::Arc,
};

use anyhow::{Context as _, anyhow, bail};
use daemon::error::one_line;

use crate::{
    bus::Bus,
    catalogue::{Catalogue, Measured, PostgresCatalogue, SqliteCatalogue, Watchlist},
    config::Config,
    identity,
    metrics::Metrics,
    objects::Objects,
    queue::{JetStreamQueue, Queue, RowQueue},
};

/// Catalogue, objects and queue, each of them tried.
pub(crate) struct Engines {
    pub(crate) catalogue: Arc<dyn Catalogue>,
    /// The same as `catalogue`, what it knows of cameras as a whole.
    pub(crate) cameras: Arc<dyn Watchlist>,
    pub(crate) objects: Objects,
    pub(crate) queue: Arc<dyn Queue>,
    /// Between processes, if there are several.
    pub(crate) bus: Option<Bus>,
    /// Held so that no second process opens the same folder.
    pub(crate) lock: Option<File>,
}

impl Engines {
    /// Opens what the configuration says. Only one who is `adopting` may open a catalogue and objects that were not together before.
    ///
    /// # Errors
    /// What cannot be used, and why.
    pub(crate) async fn open(
        config: &Config,
        metrics: &Arc<Metrics>,
        adopting: bool,
    ) -> anyhow::Result<Self> {
        let shared = config
            .catalogue
            .url
            .as_deref()
            .zip(config.queue.url.as_deref());
        let embedded = shared.is_none() || config.objects.url.is_none();
        let lock = embedded
            .then(|| open_data_dir(&config.data_dir))
            .transpose()?;
        type Opened = (
            Arc<dyn Catalogue>,
            Arc<dyn Watchlist>,
            Arc<dyn Queue>,
            Option<Bus>,
        );
        let (catalogue, cameras, queue, bus): Opened = match shared {
            None => {
                let file = config.data_dir.join("catalogue.sqlite");
                let catalogue = Arc::new(SqliteCatalogue::open(&file).await?);
                let queue = Arc::new(RowQueue::new(catalogue.clone()));
                (catalogue.clone(), catalogue, queue, None)
            }
            Some((database, nats)) => {
                let catalogue = PostgresCatalogue::connect(database).await;
                let catalogue = catalogue.map_err(|error| unusable("catalogue.url", &error))?;
                let catalogue = Arc::new(catalogue);
                let bus = Bus::connect(nats).await;
                let bus = bus.map_err(|error| unusable("queue.url", &*error))?;
                let max_frames = config.queue.max_frames;
                let queue = JetStreamQueue::open(bus.client(), catalogue.clone(), max_frames);
                let queue = queue.await.map_err(|error| unusable("queue.url", &error))?;
                (catalogue.clone(), catalogue, Arc::new(queue), Some(bus))
            }
        };
        let objects = match &config.objects.url {
            None => Objects::local(&config.data_dir.join("objects"))?,
            Some(url) => {
                let endpoint = config.objects.endpoint.as_deref();
                let objects = Objects::s3(url, endpoint, std::env::vars());
                let objects = objects.map_err(|error| unusable("objects.url", &error))?;
                let tried = objects.try_out().await;
                tried.map_err(|error| unusable("objects.url", &error))?;
                objects
            }
        };
        identity::pair(&*catalogue, &objects, adopting).await?;
        Ok(Self {
            catalogue: Arc::new(Measured {
                inner: catalogue,
                metrics: metrics.clone(),
            }),
            cameras,
            objects: objects.measured(metrics.clone()),
            queue,
            bus,
            lock,
        })
    }
}

/// Says what is the matter with an address: what the first error of all was, not what each layer says of it.
fn unusable(key: &str, error: &(dyn Error + 'static)) -> anyhow::Error {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    anyhow!(
        "{key} cannot be used: {}",
        one_line(&plain(&root.to_string()))
    )
}

/// An S3 server's own words without the XML around them.
fn plain(text: &str) -> String {
    let part = |tag: &str| {
        let (_, rest) = text.split_once(&format!("<{tag}>"))?;
        Some(rest.split_once(&format!("</{tag}>"))?.0)
    };
    match (part("Message"), part("Code")) {
        (Some(message), Some(code)) => format!("{message} ({code})"),
        _ => text.to_owned(),
    }
}

fn open_data_dir(folder: &Path) -> anyhow::Result<File> {
    let shown = folder.display();
    std::fs::create_dir_all(folder.join("objects"))
        .with_context(|| format!("data_dir {shown} cannot be created"))?;
    let lock = daemon::lock_file::lock(&folder.join("lock"));
    // The entries just made must outlive a power cut as surely as what is written below them.
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("data_dir {shown} cannot be synchronized"))?;
    match lock {
        Ok(lock) => Ok(lock),
        Err(TryLockError::WouldBlock) => bail!("data_dir {shown} is in use by another process"),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("data_dir {shown} cannot be locked"))
        }
    }
}
