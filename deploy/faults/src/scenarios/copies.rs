//! Copies of the two halves of what a cloud has, its catalogue and its objects, as operators take them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, stream};
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use uuid::Uuid;

use crate::engines::Engines;

/// Objects of a bucket that are copied at once.
const AT_ONCE: usize = 16;

/// Where both halves are.
pub(crate) enum Halves {
    /// SQLite and files, in a data folder.
    Embedded(PathBuf),
    /// PostgreSQL and S3.
    Shared(Box<Engines>),
}

/// A copy of the catalogue: a file, or what `pg_dump` wrote.
pub(crate) type Catalogue = Vec<u8>;
/// A copy of all objects, by key.
pub(crate) type Objects = BTreeMap<String, Vec<u8>>;

impl Halves {
    /// Copies the catalogue while it is in use.
    pub(crate) async fn copy_catalogue(&self) -> Result<Catalogue> {
        match self {
            Self::Embedded(folder) => {
                let copy = tempfile::tempdir()?;
                let file = copy.path().join("catalogue.sqlite");
                let options = SqliteConnectOptions::new().filename(folder.join("catalogue.sqlite"));
                let mut connection = options.connect().await?;
                sqlx::query("VACUUM INTO ?")
                    .bind(file.to_str().context("UTF-8")?)
                    .execute(&mut connection)
                    .await?;
                connection.close().await?;
                Ok(fs::read(file)?)
            }
            Self::Shared(engines) => Ok(engines.postgres.dump()),
        }
    }

    /// Copies all objects while more come.
    pub(crate) async fn copy_objects(&self) -> Result<Objects> {
        match self {
            Self::Embedded(folder) => {
                let objects = folder.join("objects");
                let files = files(&objects)?.into_iter();
                // One that is being written is not there yet, or has another name.
                let read =
                    files.filter_map(|key| Some((key.clone(), fs::read(objects.join(key)).ok()?)));
                Ok(read.collect())
            }
            Self::Shared(engines) => {
                let keys = stream::iter(engines.s3.keys().await);
                let read = keys.map(async |key| {
                    let bytes = engines.s3.get(&key).await;
                    (key, bytes)
                });
                Ok(read.buffer_unordered(AT_ONCE).collect().await)
            }
        }
    }

    /// Replaces the catalogue by a copy, or removes it if there is none.
    pub(crate) fn restore_catalogue(&self, copy: Option<&Catalogue>) -> Result<()> {
        match self {
            Self::Embedded(folder) => {
                let catalogue = folder.join("catalogue.sqlite");
                for ending in ["", "-wal", "-shm"] {
                    let file = folder.join(format!("catalogue.sqlite{ending}"));
                    if file.exists() {
                        fs::remove_file(file)?;
                    }
                }
                if let Some(copy) = copy {
                    fs::write(catalogue, copy)?;
                }
            }
            Self::Shared(engines) => {
                engines.postgres.restore(copy.map_or(&[], Vec::as_slice));
            }
        }
        Ok(())
    }

    /// Replaces the objects by a copy.
    pub(crate) async fn restore_objects(&self, copy: &Objects) -> Result<()> {
        match self {
            Self::Embedded(folder) => {
                let objects = folder.join("objects");
                fs::remove_dir_all(&objects)?;
                for (key, bytes) in copy {
                    let file = objects.join(key);
                    fs::create_dir_all(file.parent().context("a folder")?)?;
                    fs::write(file, bytes)?;
                }
                fs::create_dir_all(objects)?;
            }
            Self::Shared(engines) => {
                for key in engines.s3.keys().await {
                    if !copy.contains_key(&key) {
                        engines.s3.set(&key, None).await;
                    }
                }
                for (key, bytes) in copy {
                    engines.s3.set(key, Some(bytes.clone())).await;
                }
            }
        }
        Ok(())
    }

    /// Frames that have an object of their own.
    pub(crate) async fn frames(&self) -> Result<BTreeSet<Uuid>> {
        let keys = match self {
            Self::Embedded(folder) => files(&folder.join("objects"))?,
            Self::Shared(engines) => engines.s3.keys().await,
        };
        let latents = keys.iter().filter(|key| key.contains("latents/"));
        let names = latents.filter_map(|key| Path::new(key).file_stem()?.to_str());
        Ok(names
            .filter_map(|name| Uuid::try_parse(name).ok())
            .collect())
    }
}

/// Files below a folder, relative to it.
fn files(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(folder.join(&at))? {
            let entry = entry?;
            let path = at.join(entry.file_name());
            match entry.file_type()?.is_dir() {
                true => folders.push(path),
                false => found.push(path.to_str().context("UTF-8")?.to_owned()),
            }
        }
    }
    Ok(found)
}
