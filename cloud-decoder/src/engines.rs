//! What a service keeps its frames in: embedded in one process, or shared by many.

use std::{
    fs::{File, TryLockError},
    path::Path,
    sync::Arc,
};

use anyhow::{Context as _, bail};

use crate::{
    bus::Bus,
    catalogue::{Catalogue, Measured, PostgresCatalogue, SqliteCatalogue},
    config::Config,
    metrics::Metrics,
    objects::Objects,
    queue::{JetStreamQueue, Queue, RowQueue},
};

/// Catalogue, objects and queue, each of them tried.
pub(crate) struct Engines {
    pub(crate) catalogue: Arc<dyn Catalogue>,
    pub(crate) objects: Objects,
    pub(crate) queue: Arc<dyn Queue>,
    /// Between processes, if there are several.
    pub(crate) bus: Option<Bus>,
    /// Held so that no second process opens the same folder.
    pub(crate) lock: Option<File>,
}

impl Engines {
    /// Opens what the configuration says.
    ///
    /// # Errors
    /// What cannot be used, and why.
    pub(crate) async fn open(config: &Config, metrics: &Arc<Metrics>) -> anyhow::Result<Self> {
        let shared = config
            .catalogue
            .url
            .as_deref()
            .zip(config.queue.url.as_deref());
        let embedded = shared.is_none() || config.objects.url.is_none();
        let lock = embedded
            .then(|| open_data_dir(&config.data_dir))
            .transpose()?;
        let objects = match &config.objects.url {
            None => Objects::local(&config.data_dir.join("objects"))?,
            Some(url) => {
                let endpoint = config.objects.endpoint.as_deref();
                let objects = Objects::s3(url, endpoint, std::env::vars())
                    .with_context(|| format!("objects.url {url} cannot be used"))?;
                let tried = objects.try_out().await;
                tried.with_context(|| format!("objects.url {url} cannot be used"))?;
                objects
            }
        };
        let (catalogue, queue, bus): (Arc<dyn Catalogue>, Arc<dyn Queue>, _) = match shared {
            None => {
                let file = config.data_dir.join("catalogue.sqlite");
                let catalogue = Arc::new(SqliteCatalogue::open(&file).await?);
                (catalogue.clone(), Arc::new(RowQueue::new(catalogue)), None)
            }
            Some((database, nats)) => {
                let catalogue = PostgresCatalogue::connect(database).await;
                let catalogue = Arc::new(catalogue.context("catalogue.url cannot be used")?);
                let bus = Bus::connect(nats).await?;
                let max_frames = config.queue.max_frames;
                let queue = JetStreamQueue::open(bus.client(), catalogue.clone(), max_frames);
                let queue = queue.await.context("queue.url cannot be used")?;
                (catalogue, Arc::new(queue), Some(bus))
            }
        };
        Ok(Self {
            catalogue: Arc::new(Measured {
                inner: catalogue,
                metrics: metrics.clone(),
            }),
            objects: objects.measured(metrics.clone()),
            queue,
            bus,
            lock,
        })
    }
}

fn open_data_dir(folder: &Path) -> anyhow::Result<File> {
    let shown = folder.display();
    std::fs::create_dir_all(folder.join("objects"))
        .with_context(|| format!("data_dir {shown} cannot be created"))?;
    let lock = File::create(folder.join("lock"))
        .with_context(|| format!("data_dir {shown} cannot be written"))?;
    // The entries just made must outlive a power cut as surely as what is written below them.
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("data_dir {shown} cannot be synchronized"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => bail!("data_dir {shown} is in use by another process"),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("data_dir {shown} cannot be locked"))
        }
    }
}
