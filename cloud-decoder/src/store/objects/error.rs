//! Errors of the object store.

/// Why an object could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The store failed.
    #[error("object store: {0}")]
    Store(#[from] object_store::Error),
    /// The object that names the store holds no id.
    #[error(
        "object store: the object \"store-id\" holds no id: restore it from a backup, or delete it and let `cloud-decoder adopt` write it again"
    )]
    StoreId,
    /// The object that names the store was there and is not any more.
    #[error(
        "object store: the object \"store-id\" is gone, so this is not the place where the objects are"
    )]
    Away,
}
