//! Opens the store: embedded in one process, or shared by many.

use std::{
    error::Error,
    fs::{File, TryLockError},
    path::Path,
    sync::Arc,
};

use anyhow::{Context as _, anyhow, bail};
use daemon::error::one_line;

use super::{
    catalogue::Database,
    change_feed::ChangeFeed,
    frame_store::FrameStore,
    identity,
    objects::Objects,
    queue::{JetStreamQueue, Queue, RowQueue},
};
use crate::{cluster::Nats, config::Config, metrics::Metrics};

/// An open store.
pub(crate) struct Opened {
    pub(crate) store: FrameStore,
    /// The connection between processes, if there are several.
    pub(crate) nats: Option<Nats>,
    /// Held so that no second process opens the same folder.
    pub(crate) lock: Option<File>,
}

/// Opens the configured store. Only `adopting` permits a catalogue and objects that were not used together before.
///
/// # Errors A part cannot be used; the error names the part and the reason.
pub(crate) async fn open(
    config: &Config,
    metrics: &Arc<Metrics>,
    adopting: bool,
) -> anyhow::Result<Opened> {
    let shared = config.catalogue.url.as_deref();
    let shared = shared.zip(config.queue.url.as_deref());
    let embedded = shared.is_none() || config.objects.url.is_none();
    let lock = embedded
        .then(|| open_data_dir(&config.data_dir))
        .transpose()?;
    let (database, queue, nats) = match shared {
        None => open_embedded(config, metrics).await?,
        Some((url, nats)) => open_shared(config, metrics, url, nats).await?,
    };
    let objects = open_objects(config).await?;
    identity::pair(&database, &objects, adopting).await?;
    let objects = objects.measured(metrics.clone());
    let changes = ChangeFeed::new(nats.clone());
    Ok(Opened {
        store: FrameStore::start(&database, objects, queue, changes),
        nats,
        lock,
    })
}

type RowsAndQueue = (Database, Arc<dyn Queue>, Option<Nats>);

async fn open_embedded(config: &Config, metrics: &Arc<Metrics>) -> anyhow::Result<RowsAndQueue> {
    let database = Database::sqlite(&config.data_dir.join("catalogue.sqlite")).await?;
    let database = database.measured(metrics.clone());
    let queue = RowQueue::new(database.clone());
    Ok((database, Arc::new(queue), None))
}

async fn open_shared(
    config: &Config,
    metrics: &Arc<Metrics>,
    url: &str,
    nats: &str,
) -> anyhow::Result<RowsAndQueue> {
    let database = Database::postgres(url).await;
    let database = database.map_err(|error| unusable("catalogue.url", &error))?;
    let database = database.measured(metrics.clone());
    let nats = Nats::connect(nats).await;
    let nats = nats.map_err(|error| unusable("queue.url", &*error))?;
    let queue = JetStreamQueue::open(nats.client(), database.clone(), config.queue.max_frames);
    let queue = queue.await.map_err(|error| unusable("queue.url", &error))?;
    Ok((database, Arc::new(queue), Some(nats)))
}

async fn open_objects(config: &Config) -> anyhow::Result<Objects> {
    let Some(url) = &config.objects.url else {
        return Ok(Objects::local(&config.data_dir.join("objects"))?);
    };
    let endpoint = config.objects.endpoint.as_deref();
    let objects = Objects::s3(url, endpoint, std::env::vars());
    let objects = objects.map_err(|error| unusable("objects.url", &error))?;
    let tried = objects.try_out().await;
    tried.map_err(|error| unusable("objects.url", &error))?;
    Ok(objects)
}

/// Names the setting and the root cause, without the messages of the layers in between.
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

/// The message of an S3 server, without the XML around it.
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
    // The new directory entries must survive a power cut, as the files below them do.
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
