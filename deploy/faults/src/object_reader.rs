//! Reads the cloud's objects from its folder or bucket, since the API does not serve them as they are.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use chrono::DateTime;
use reqwest::{Client, StatusCode};
use uuid::Uuid;

/// The kind of an object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Latents,
    Original,
}

/// Where objects are.
pub(crate) enum ObjectReader {
    Folder(PathBuf),
    /// An S3 bucket's address and the prefix in it.
    Bucket(Client, String),
}

impl ObjectReader {
    /// A bucket, given as `s3://BUCKET/PREFIX`, of the S3 server at `endpoint`.
    pub(crate) fn bucket(endpoint: &str, url: &str) -> Result<Self> {
        let place = url
            .strip_prefix("s3://")
            .context("an address of a bucket")?;
        Ok(Self::Bucket(
            testing::client(),
            format!("{endpoint}/{place}"),
        ))
    }

    /// An object's bytes; `None` when it is not there.
    pub(crate) async fn get(&self, kind: Kind, frame: Uuid) -> Result<Option<Vec<u8>>> {
        let key = key(kind, frame)?;
        match self {
            Self::Folder(folder) => match tokio::fs::read(folder.join(key)).await {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error.into()),
            },
            Self::Bucket(client, place) => {
                // It looks for a signature, and not at it.
                let request = client.get(format!("{place}/{key}"));
                let answer = request
                    .header("authorization", "AWS test:test")
                    .send()
                    .await?;
                if answer.status() == StatusCode::NOT_FOUND {
                    return Ok(None);
                }
                let status = answer.status();
                ensure!(status.is_success(), "{key}: the S3 server answers {status}");
                Ok(Some(answer.bytes().await?.into()))
            }
        }
    }
}

/// `KIND/YYYY/MM/DD/FRAME_ID`, by the day that is in the frame's id.
fn key(kind: Kind, frame: Uuid) -> Result<String> {
    let (seconds, _) = frame.get_timestamp().context("a UUIDv7")?.to_unix();
    let (folder, ending) = match kind {
        Kind::Latents => ("latents", "pwl"),
        Kind::Original => ("originals", "img"),
    };
    let day = DateTime::from_timestamp(seconds.try_into()?, 0).context("a time in the calendar")?;
    let day = day.format("%Y/%m/%d");
    Ok(format!("{folder}/{day}/{frame}.{ending}"))
}
