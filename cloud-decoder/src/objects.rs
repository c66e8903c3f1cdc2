//! A frame's bytes: latents, original, reconstruction and thumbnail, each one object.
//!
//! A key is `KIND/YYYY/MM/DD/FRAME_ID`, with the day that is in the frame's UUIDv7, so that a
//! resend writes the same keys. Objects are written before their catalogue row: a crash between
//! the two leaves an object that nothing refers to, which the resend overwrites.

use std::{
    io,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use object_store::{
    ObjectStore, ObjectStoreExt, PutMode, PutOptions, RetryConfig,
    aws::{AmazonS3Builder, Checksum},
    local::LocalFileSystem,
    path::Path,
    prefix::PrefixStore,
};
use uuid::Uuid;

use crate::{
    metrics::{Metrics, ObjectCall},
    staged,
};

/// Times that a request to S3 is tried again.
const S3_RETRIES: usize = 5;
/// Longest time for that.
const S3_PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of the parts in which larger objects go to S3, which takes no smaller ones than 5 MiB.
const S3_PART: usize = 16 << 20;

/// Name of the object that tells which store the objects belong to.
const STORE_ID: &str = "store-id";

/// What an object holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The frame itself: what its row needs, and its latents ([`stored`](crate::stored)).
    Latents,
    /// The camera's own pixels, PNG or WebP.
    Original,
    /// The reconstruction, PNG.
    Reconstruction,
    /// The reconstruction in small, JPEG.
    Thumbnail,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Latents,
        Self::Original,
        Self::Reconstruction,
        Self::Thumbnail,
    ];

    /// Folder and extension.
    fn place(self) -> (&'static str, &'static str) {
        match self {
            Self::Latents => ("latents", "pwl"),
            Self::Original => ("originals", "img"),
            Self::Reconstruction => ("reconstructions", "png"),
            Self::Thumbnail => ("thumbnails", "jpg"),
        }
    }
}

/// Why an object could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The store failed.
    #[error("object store: {0}")]
    Store(#[from] object_store::Error),
    /// The object that names the store holds no id.
    #[error(
        "object store: the object \"{STORE_ID}\" holds no id: restore it from a backup, or delete it and let `cloud-decoder adopt` write it again"
    )]
    StoreId,
    /// The object that names the store was there and is not any more.
    #[error(
        "object store: the object \"{STORE_ID}\" is gone, so this is not the place where the objects are"
    )]
    Away,
}

/// An object that is being read.
pub struct Opened {
    /// Bytes in all.
    pub length: u64,
    /// Its bytes in order.
    pub pieces: BoxStream<'static, object_store::Result<Bytes>>,
}

/// Frames' objects in any [`ObjectStore`]; a successful [`put`](Objects::put) is durable.
#[derive(Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    metrics: Option<Arc<Metrics>>,
    /// Larger objects are written in parts of so many bytes.
    part_bytes: usize,
    /// Where they are files.
    folder: Option<PathBuf>,
}

impl Objects {
    /// Objects in a store whose successful writes are durable.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self {
            store,
            metrics: None,
            part_bytes: usize::MAX,
            folder: None,
        }
    }

    /// With its calls counted and timed.
    pub(crate) fn measured(self, metrics: Arc<Metrics>) -> Self {
        Self {
            metrics: Some(metrics),
            ..self
        }
    }

    async fn time<T>(
        &self,
        kind: ObjectCall,
        call: impl Future<Output = Result<T, ObjectError>>,
    ) -> Result<T, ObjectError> {
        match &self.metrics {
            Some(metrics) => metrics.objects.time(kind, call).await,
            None => call.await,
        }
    }

    /// Objects as files below a folder, which must exist. Each write is staged, synchronized to
    /// disk, renamed into place, and its new directory entries synchronized too.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn local(folder: &FilePath) -> Result<Self, ObjectError> {
        let store = LocalFileSystem::new_with_prefix(folder)?.with_fsync(true);
        Ok(Self {
            folder: Some(folder.to_owned()),
            ..Self::new(Arc::new(store))
        })
    }

    /// Objects below a prefix of an S3 bucket, `s3://BUCKET/PREFIX`, at Amazon's or another `endpoint`. Keys, region,
    /// server-side encryption and whatever else there is are taken from variables with the usual names, such as
    /// `AWS_ACCESS_KEY_ID`, `AWS_REGION` and `AWS_SERVER_SIDE_ENCRYPTION`.
    ///
    /// # Errors
    /// The address or a variable is wrong.
    pub fn s3(
        url: &str,
        endpoint: Option<&str>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ObjectError> {
        let (_, prefix) = url
            .trim_start_matches("s3://")
            .split_once('/')
            .unwrap_or_default();
        let mut builder = AmazonS3Builder::new()
            .with_url(url)
            .with_checksum_algorithm(Checksum::SHA256)
            .with_retry(RetryConfig {
                max_retries: S3_RETRIES,
                retry_timeout: S3_PATIENCE,
                ..RetryConfig::default()
            });
        for (name, value) in variables {
            let known = name
                .starts_with("AWS_")
                .then(|| name.to_lowercase().parse());
            if let Some(Ok(key)) = known {
                builder = builder.with_config(key, value);
            }
        }
        if let Some(endpoint) = endpoint {
            builder = builder
                .with_endpoint(endpoint)
                .with_allow_http(endpoint.starts_with("http://"));
        }
        let store = PrefixStore::new(builder.build()?, Path::from(prefix));
        let mut objects = Self::new(Arc::new(store));
        objects.part_bytes = S3_PART;
        Ok(objects)
    }

    /// Writes, reads and deletes an object that is no frame's.
    ///
    /// # Errors
    /// What the store does not let us do.
    pub async fn try_out(&self) -> Result<(), ObjectError> {
        let key = Path::from(format!("startup-checks/{}", Uuid::now_v7()));
        self.store
            .put(&key, Bytes::from_static(b"ok").into())
            .await?;
        self.store.get(&key).await?.bytes().await?;
        self.store.delete(&key).await?;
        Ok(())
    }

    /// Writes an object, replacing one that is there.
    ///
    /// # Errors
    /// The store failed; nothing or the whole object was written.
    pub async fn put(&self, kind: Kind, frame: Uuid, bytes: Bytes) -> Result<(), ObjectError> {
        let key = key(kind, frame);
        let put = async {
            match bytes.len() > self.part_bytes {
                true => self.put_parts(&key, bytes).await,
                false => Ok(self.store.put(&key, bytes.into()).await.map(drop)?),
            }
        };
        self.time(ObjectCall::Put, put).await
    }

    /// Writes an object unless there is one; `false` when there is.
    ///
    /// # Errors
    /// The store failed; nothing or the whole object was written.
    pub async fn create(&self, kind: Kind, frame: Uuid, bytes: Bytes) -> Result<bool, ObjectError> {
        let key = key(kind, frame);
        let mode = PutOptions::from(PutMode::Create);
        let create = async {
            match self.store.put_opts(&key, bytes.clone().into(), mode).await {
                Ok(_) => Ok(true),
                Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
                Err(error) => Err(error.into()),
            }
        };
        self.time(ObjectCall::Put, create).await
    }

    /// The id of the store that these objects belong to; `None` when they have never been told.
    ///
    /// # Errors
    /// The store failed, or holds something else in its place.
    pub async fn store_id(&self) -> Result<Option<Uuid>, ObjectError> {
        let Some(object) = found(self.store.get(&Path::from(STORE_ID)).await)? else {
            return Ok(None);
        };
        let text = object.bytes().await?;
        let id = std::str::from_utf8(&text).ok();
        let id = id.and_then(|text| Uuid::try_parse(text.trim()).ok());
        id.map(Some).ok_or(ObjectError::StoreId)
    }

    /// Writes the id of the store that these objects belong to, unless there is one.
    ///
    /// # Errors
    /// The store failed.
    pub async fn name_store(&self, id: Uuid) -> Result<(), ObjectError> {
        let text = Bytes::from(format!("{id}\n"));
        let (key, mode) = (Path::from(STORE_ID), PutOptions::from(PutMode::Create));
        match self.store.put_opts(&key, text.into(), mode).await {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes sure that an object that is missing is not missing because all are: a disk that is not mounted, or a bucket that is gone.
    ///
    /// # Errors
    /// The store failed, or is another one.
    pub(crate) async fn are_here(&self) -> Result<(), ObjectError> {
        match self.store_id().await? {
            Some(_) => Ok(()),
            None => Err(ObjectError::Away),
        }
    }

    /// The same for objects that are files, for which this costs next to nothing; of others nothing is known.
    ///
    /// # Errors
    /// The folder is another one.
    pub(crate) fn folder_is_here(&self) -> Result<(), ObjectError> {
        match &self.folder {
            Some(folder) if !folder.join(STORE_ID).exists() => Err(ObjectError::Away),
            _ => Ok(()),
        }
    }

    /// The time by the store's own clock.
    ///
    /// # Errors
    /// The store failed.
    pub async fn now(&self) -> Result<SystemTime, ObjectError> {
        let key = Path::from(format!("startup-checks/{}", Uuid::now_v7()));
        self.store
            .put(&key, Bytes::from_static(b"ok").into())
            .await?;
        let written = self.store.head(&key).await?.last_modified;
        self.store.delete(&key).await?;
        Ok(written.into())
    }

    async fn put_parts(&self, key: &Path, mut bytes: Bytes) -> Result<(), ObjectError> {
        let mut upload = self.store.put_multipart(key).await?;
        let parts = async {
            while !bytes.is_empty() {
                let part = bytes.split_to(bytes.len().min(self.part_bytes));
                upload.put_part(part.into()).await?;
            }
            upload.complete().await
        };
        let done = parts.await;
        if done.is_err() {
            // The store forgets the parts by itself some day.
            upload.abort().await.ok();
        }
        Ok(done.map(drop)?)
    }

    /// Deletes all objects of a frame; those that are not there count as deleted.
    ///
    /// # Errors
    /// The store failed; some may be deleted.
    pub async fn delete(&self, frame: Uuid) -> Result<(), ObjectError> {
        for kind in Kind::ALL {
            self.delete_one(kind, frame).await?;
        }
        Ok(())
    }

    /// Deletes one object, if it is there.
    ///
    /// # Errors
    /// The store failed.
    pub async fn delete_one(&self, kind: Kind, frame: Uuid) -> Result<(), ObjectError> {
        let key = key(kind, frame);
        let delete = async {
            found(self.store.delete(&key).await)?;
            Ok(())
        };
        self.time(ObjectCall::Delete, delete).await
    }

    /// Moves an object, if it is there, below `set-aside/`, where it is neither found nor listed.
    ///
    /// # Errors
    /// The store failed; the object is in one of both places, or in both.
    pub async fn set_aside(&self, kind: Kind, frame: Uuid) -> Result<(), ObjectError> {
        let key = key(kind, frame);
        let aside = Path::from(format!("set-aside/{key}"));
        found(self.store.rename(&key, &aside).await)?;
        Ok(())
    }

    /// Bytes of an object; `None` when there is none.
    ///
    /// # Errors
    /// The store failed.
    pub async fn size(&self, kind: Kind, frame: Uuid) -> Result<Option<u64>, ObjectError> {
        let key = key(kind, frame);
        let head = async { Ok(found(self.store.head(&key).await)?.map(|meta| meta.size)) };
        self.time(ObjectCall::Stat, head).await
    }

    /// All objects of a kind, in no order: the frame, and when the object was last written, by the store's clock. What is named
    /// otherwise is left out.
    pub fn list(&self, kind: Kind) -> BoxStream<'static, Result<(Uuid, SystemTime), ObjectError>> {
        let objects = self.store.list(Some(&Path::from(kind.place().0)));
        let named = objects.filter_map(async |meta| {
            let meta = match meta {
                Ok(meta) => meta,
                Err(error) => return Some(Err(error.into())),
            };
            let stem = meta.location.filename()?.split('.').next()?;
            let frame = Uuid::try_parse(stem).ok()?;
            Some(Ok((frame, meta.last_modified.into())))
        });
        named.boxed()
    }

    /// Deletes what writes that were cut short before `oldest` have left; tells how many. S3 deletes its own, if the
    /// bucket's lifecycle says so.
    ///
    /// # Errors
    /// The folder cannot be read or written.
    pub(crate) async fn delete_staged(&self, oldest: SystemTime) -> io::Result<u64> {
        let Some(folder) = self.folder.clone() else {
            return Ok(0);
        };
        tokio::task::spawn_blocking(move || staged::delete(&folder, oldest)).await?
    }

    /// Opens an object to be read piece by piece; `None` when there is none.
    ///
    /// # Errors
    /// The store failed.
    pub async fn open(&self, kind: Kind, frame: Uuid) -> Result<Option<Opened>, ObjectError> {
        let key = key(kind, frame);
        let get = async { Ok(found(self.store.get(&key).await)?) };
        let object = self.time(ObjectCall::Get, get).await?;
        Ok(object.map(|object| Opened {
            length: object.meta.size,
            pieces: object.into_stream(),
        }))
    }

    /// Reads an object; `None` when there is none.
    ///
    /// # Errors
    /// The store failed.
    pub async fn get(&self, kind: Kind, frame: Uuid) -> Result<Option<Bytes>, ObjectError> {
        let key = key(kind, frame);
        let get = async {
            match found(self.store.get(&key).await)? {
                Some(object) => Ok(Some(object.bytes().await?)),
                None => Ok(None),
            }
        };
        self.time(ObjectCall::Get, get).await
    }
}

/// `None` for an object that is not there.
fn found<T>(result: object_store::Result<T>) -> object_store::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn key(kind: Kind, frame: Uuid) -> Path {
    let seconds = frame.get_timestamp().map_or(0, |time| time.to_unix().0);
    let (year, month, day) = civil_date(seconds / 86_400);
    let (folder, extension) = kind.place();
    Path::from(format!(
        "{folder}/{year:04}/{month:02}/{day:02}/{frame}.{extension}"
    ))
}

/// Year, month and day of a number of days since 1970-01-01 (Howard Hinnant, `civil_from_days`,
/// <https://howardhinnant.github.io/date_algorithms.html>).
fn civil_date(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_the_day_of_the_frame_id() {
        for (seconds, day) in [
            (0, "1970/01/01"),
            (951_782_400, "2000/02/29"),
            (1_798_761_599, "2026/12/31"),
        ] {
            let id = Uuid::new_v7(uuid::Timestamp::from_unix_time(seconds, 0, 0, 0));
            let want = format!("latents/{day}/{id}.pwl");
            assert_eq!(key(Kind::Latents, id).as_ref(), want);
        }
    }
}
