//! The objects of the cloud, read where they are: what no address of its API gives out.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use reqwest::{Client, StatusCode};
use uuid::Uuid;

/// What an object holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Latents,
    Original,
}

/// Where objects are.
pub(crate) enum Vault {
    Folder(PathBuf),
    /// An S3 bucket's address and the prefix in it.
    Bucket(Client, String),
}

impl Vault {
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
    let (year, month, day) = date(seconds / 86_400);
    Ok(format!(
        "{folder}/{year:04}/{month:02}/{day:02}/{frame}.{ending}"
    ))
}

/// Year, month and day of a number of days since 1970-01-01 (Howard Hinnant, `civil_from_days`,
/// <https://howardhinnant.github.io/date_algorithms.html>).
fn date(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}
