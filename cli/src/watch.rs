//! The cloud's changes of frame records, as a stream that survives falling behind.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use patchwire_proto::v1::catalogue_client::CatalogueClient;
use patchwire_proto::v1::{FrameRecord, GetFrameRequest, WatchFramesRequest};
use tonic::transport::Channel;
use tonic::{Code, Streaming};
use uuid::Uuid;

/// A subscription to every change from its start on.
pub(crate) struct Watch {
    client: CatalogueClient<Channel>,
    changes: Streaming<FrameRecord>,
}

impl Watch {
    /// Subscribes at a cloud decoder's gRPC address.
    pub(crate) async fn subscribe(address: SocketAddr) -> Result<Self> {
        let mut client = CatalogueClient::connect(format!("http://{address}"))
            .await
            .context("cannot connect to the cloud decoder")?;
        let changes = watch(&mut client).await?;
        Ok(Self { client, changes })
    }

    /// The next change, or `None` when some were missed: a caller that waits for a frame must query it. Dropping the
    /// future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Option<FrameRecord>> {
        match self.changes.message().await {
            Ok(Some(record)) => Ok(Some(record)),
            Err(status) if status.code() == Code::DataLoss => {
                self.changes = watch(&mut self.client).await?;
                Ok(None)
            }
            Ok(None) => anyhow::bail!("the cloud decoder ended the stream of changes"),
            Err(status) => Err(status).context("the stream of changes broke"),
        }
    }

    /// A frame's record, if the cloud holds the frame yet.
    pub(crate) async fn get(&mut self, id: Uuid) -> Result<Option<FrameRecord>> {
        let request = GetFrameRequest {
            frame_id: id.as_bytes().to_vec().into(),
        };
        match self.client.get_frame(request).await {
            Ok(response) => Ok(Some(response.into_inner())),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status).context("cannot ask for a frame"),
        }
    }
}

async fn watch(client: &mut CatalogueClient<Channel>) -> Result<Streaming<FrameRecord>> {
    let response = client
        .watch_frames(WatchFramesRequest::default())
        .await
        .context("cannot watch the cloud decoder's frames")?;
    Ok(response.into_inner())
}
