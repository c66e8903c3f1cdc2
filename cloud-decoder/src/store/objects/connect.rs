//! Opening objects in a local folder or in an S3 bucket.

use std::{path::Path as FilePath, sync::Arc, time::Duration};

use object_store::{
    RetryConfig,
    aws::{AmazonS3Builder, Checksum},
    local::LocalFileSystem,
    path::Path,
    prefix::PrefixStore,
};

use super::{access::Objects, error::ObjectError};

/// Times that a request to S3 is tried again.
const S3_RETRIES: usize = 5;
/// Longest time for all these tries.
const S3_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes of the parts in which larger objects go to S3, which takes no smaller ones than 5 MiB.
const S3_PART: usize = 16 << 20;

impl Objects {
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
    /// server-side encryption and further settings are taken from variables with the usual names, such as
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
                retry_timeout: S3_TIMEOUT,
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
}
