//! The gRPC catalogue, and the server that carries it beside uplink, health and reflection.

use std::{sync::Arc, time::Duration};

use daemon::metrics::Raised;
use futures::{Stream, StreamExt};
use patchwire_proto::{
    FILE_DESCRIPTOR_SET, limits,
    v1::{
        FrameRecord, GetFrameRequest, ListFramesRequest, ListFramesResponse, WatchFramesRequest,
        catalogue_server::{Catalogue as CatalogueApi, CatalogueServer},
        uplink_server::UplinkServer,
    },
};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_stream::wrappers::{BroadcastStream, errors::BroadcastStreamRecvError};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status, async_trait,
    transport::{Server, server::TcpIncoming},
};
use tonic_health::pb::health_server::{Health, HealthServer};
use uuid::Uuid;

use crate::{
    catalogue::{Catalogue, CatalogueError, Page},
    changes::Changes,
    metrics::Metrics,
    uplink::UplinkService,
};

const DEFAULT_PAGE: u32 = 50;
const MAX_PAGE: u32 = 500;
/// Largest request of the catalogue in bytes: a camera id and a page token.
const MAX_REQUEST_BYTES: usize = 4096;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_STREAMS_PER_CONNECTION: u32 = 64;

pub(crate) struct CatalogueService {
    pub(crate) catalogue: Arc<dyn Catalogue>,
    pub(crate) changes: Changes,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) watchers: Arc<Semaphore>,
    pub(crate) shutdown: CancellationToken,
}

#[async_trait]
impl CatalogueApi for CatalogueService {
    type WatchFramesStream =
        std::pin::Pin<Box<dyn Stream<Item = Result<FrameRecord, Status>> + Send>>;

    async fn list_frames(
        &self,
        request: Request<ListFramesRequest>,
    ) -> Result<Response<ListFramesResponse>, Status> {
        let request = request.into_inner();
        let limit = match request.page_size {
            0 => DEFAULT_PAGE,
            size @ 1..=MAX_PAGE => size,
            size => {
                return Err(Status::invalid_argument(format!(
                    "page_size is {size}, allowed are 1 to {MAX_PAGE}"
                )));
            }
        };
        let bad_token = || Status::invalid_argument("page_token is not one that this service gave");
        let before = match request.page_token.as_str() {
            "" => None,
            token => Some(Uuid::parse_str(token).map_err(|_| bad_token())?),
        };
        let page = Page {
            camera: camera(request.camera_id)?,
            before,
            limit: limit + 1,
            ..Page::default()
        };
        let frames = self.catalogue.list(&page).await.map_err(internal)?;
        let mut frames = frames.ok_or_else(bad_token)?;
        let more = frames.len() > limit as usize;
        frames.truncate(limit as usize);
        let last = frames.last().filter(|_| more);
        Ok(Response::new(ListFramesResponse {
            next_page_token: last.map_or_else(String::new, |frame| frame.new.id.to_string()),
            frames: frames.iter().map(FrameRecord::from).collect(),
        }))
    }

    async fn get_frame(
        &self,
        request: Request<GetFrameRequest>,
    ) -> Result<Response<FrameRecord>, Status> {
        let id = limits::frame_id(&request.into_inner().frame_id)
            .map_err(|e| Status::invalid_argument(e.to_string()))?;
        let frame = self.catalogue.get(id).await.map_err(internal)?;
        let frame = frame.ok_or_else(|| Status::not_found(format!("no frame {id}")))?;
        Ok(Response::new(FrameRecord::from(&frame)))
    }

    async fn watch_frames(
        &self,
        request: Request<WatchFramesRequest>,
    ) -> Result<Response<Self::WatchFramesStream>, Status> {
        let camera = camera(request.into_inner().camera_id)?;
        let Ok(slot) = self.watchers.clone().try_acquire_owned() else {
            return Err(Status::resource_exhausted("too many watchers"));
        };
        let held = (slot, Raised::new(&self.metrics.watchers));
        let changes = BroadcastStream::new(self.changes.subscribe());
        let records = changes
            .filter_map(move |change| {
                let _held = &held;
                let item = match change {
                    Ok(frame) => camera
                        .as_ref()
                        .is_none_or(|camera| *camera == frame.new.camera_id)
                        .then(|| Ok(FrameRecord::from(&*frame))),
                    Err(BroadcastStreamRecvError::Lagged(missed)) => Some(Err(Status::data_loss(
                        format!("{missed} changes were missed, list the frames again"),
                    ))),
                };
                std::future::ready(item)
            })
            .take_until(self.shutdown.clone().cancelled_owned());
        Ok(Response::new(Box::pin(end_after_error(records))))
    }
}

/// A gRPC stream ends with its first error.
fn end_after_error<T>(
    items: impl Stream<Item = Result<T, Status>>,
) -> impl Stream<Item = Result<T, Status>> {
    items.scan(false, |ended, item| {
        let next = (!*ended).then_some(item);
        *ended = matches!(next, Some(Err(_)) | None);
        std::future::ready(next)
    })
}

fn camera(id: String) -> Result<Option<String>, Status> {
    if id.is_empty() {
        return Ok(None);
    }
    limits::check_id("camera_id", &id).map_err(|e| Status::invalid_argument(e.to_string()))?;
    Ok(Some(id))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as the argument of map_err"
)]
fn internal(error: CatalogueError) -> Status {
    tracing::error!(%error, "catalogue");
    Status::internal("the catalogue could not be read")
}

/// Serves until `shutdown`, then until the last stream has ended.
pub(crate) async fn serve(
    listener: TcpListener,
    uplink: UplinkService,
    max_message_bytes: usize,
    catalogue: CatalogueService,
    health: HealthServer<impl Health>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let uplink = UplinkServer::new(uplink)
        .max_decoding_message_size(max_message_bytes)
        .max_encoding_message_size(max_message_bytes);
    let catalogue = CatalogueServer::new(catalogue)
        .max_decoding_message_size(MAX_REQUEST_BYTES)
        .max_encoding_message_size(max_message_bytes);
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        .add_service(uplink)
        .add_service(catalogue)
        .add_service(health)
        .add_service(reflection)
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            shutdown.cancelled_owned(),
        )
        .await?;
    Ok(())
}
