//! Reading and writing objects.

use std::{io, path::PathBuf, sync::Arc, time::SystemTime};

use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, path::Path};
use uuid::Uuid;

use super::{
    error::ObjectError,
    kind::{Kind, key},
    partial_uploads,
};
use crate::metrics::{Metrics, ObjectCall};

/// Key of the object with the id of the store.
const STORE_ID: &str = "store-id";

/// An object that is being read.
pub struct Opened {
    /// Number of bytes.
    pub length: u64,
    /// Its bytes, in order.
    pub pieces: BoxStream<'static, object_store::Result<Bytes>>,
}

/// Frames' objects in any [`ObjectStore`]; a successful [`put`](Objects::put) is durable.
#[derive(Clone)]
pub struct Objects {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) metrics: Option<Arc<Metrics>>,
    /// Objects larger than this many bytes are written in parts of this size.
    pub(super) part_bytes: usize,
    /// The folder of objects that are files.
    pub(super) folder: Option<PathBuf>,
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

    /// The same store, with its calls counted and timed.
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

    /// The id of the store that these objects belong to; `None` when they have none yet.
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

    /// Checks that an object is not missing because all objects are, as when a disk is not mounted or a bucket is gone.
    ///
    /// # Errors
    /// The store failed, or is another one.
    pub(crate) async fn check_present(&self) -> Result<(), ObjectError> {
        match self.store_id().await? {
            Some(_) => Ok(()),
            None => Err(ObjectError::Away),
        }
    }

    /// The same for objects that are files, where the check is cheap. Other stores are not checked.
    ///
    /// # Errors
    /// The folder is another one.
    pub(crate) fn check_folder(&self) -> Result<(), ObjectError> {
        match &self.folder {
            Some(folder) if !folder.join(STORE_ID).exists() => Err(ObjectError::Away),
            _ => Ok(()),
        }
    }

    /// Writes, reads and deletes a test object. Returns when it was written, by the store's own clock.
    ///
    /// # Errors The store refuses one of these operations.
    pub async fn try_out(&self) -> Result<SystemTime, ObjectError> {
        let key = Path::from(format!("startup-checks/{}", Uuid::now_v7()));
        let bytes = Bytes::from_static(b"ok");
        self.store.put(&key, bytes.into()).await?;
        let object = self.store.get(&key).await?;
        let written = object.meta.last_modified;
        object.bytes().await?;
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
            // The store deletes the parts itself after some time.
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
    /// # Errors The store failed; the object is in one of the two places, or in both.
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

    /// All objects of a kind, in no order: the frame, and when the object was last written, by the store's clock.
    /// Objects with other names are left out.
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

    /// Deletes files of writes that were interrupted before `oldest`, and returns their number. S3 deletes its own if
    /// the bucket's lifecycle is set so.
    ///
    /// # Errors
    /// The folder cannot be read or written.
    pub(crate) async fn delete_partial(&self, oldest: SystemTime) -> io::Result<u64> {
        let Some(folder) = self.folder.clone() else {
            return Ok(0);
        };
        tokio::task::spawn_blocking(move || partial_uploads::delete(&folder, oldest)).await?
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
