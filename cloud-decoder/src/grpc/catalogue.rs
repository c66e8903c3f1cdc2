//! The gRPC catalogue.

use std::sync::Arc;

use daemon::{metrics::Raised, tokens::Authenticator};
use futures::{FutureExt, Stream, StreamExt};
use patchwire_proto::{
    limits,
    v1::{
        self, FrameRecord, GetFrameRequest, ListFramesRequest, ListFramesResponse,
        WatchFramesRequest, catalogue_server::Catalogue as CatalogueApi,
    },
};
use tokio::sync::Semaphore;
use tokio_stream::wrappers::{BroadcastStream, errors::BroadcastStreamRecvError};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, async_trait};
use uuid::Uuid;

use crate::{
    auth::{Caller, revoked},
    frame::FrameState,
    metrics::Metrics,
    store::{
        FrameStore,
        catalogue::{CatalogueError, Page},
    },
};

const DEFAULT_PAGE: u32 = 50;
const MAX_PAGE: u32 = 500;

pub(crate) struct CatalogueService {
    pub(crate) store: FrameStore,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) watchers: Arc<Semaphore>,
    pub(crate) gate: Authenticator,
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
        let bad_token = || Status::invalid_argument("page_token was not issued by this service");
        let before = match request.page_token.as_str() {
            "" => None,
            token => Some(Uuid::parse_str(token).map_err(|_| bad_token())?),
        };
        let page = Page {
            state: state(&request)?,
            camera: camera(request.camera_id)?,
            before,
            limit: limit + 1,
        };
        let frames = self.store.catalogue().list(&page).await.map_err(internal)?;
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
        let frame = self.store.catalogue().get(id).await.map_err(internal)?;
        let frame = frame.ok_or_else(|| Status::not_found(format!("no frame {id}")))?;
        Ok(Response::new(FrameRecord::from(&frame)))
    }

    async fn watch_frames(
        &self,
        request: Request<WatchFramesRequest>,
    ) -> Result<Response<Self::WatchFramesStream>, Status> {
        let caller = request.extensions().get::<Caller>().cloned();
        let camera = camera(request.into_inner().camera_id)?;
        let Ok(slot) = self.watchers.clone().try_acquire_owned() else {
            return Err(Status::resource_exhausted("too many watchers"));
        };
        let held = (slot, Raised::new(&self.metrics.watchers));
        let changes = BroadcastStream::new(self.store.subscribe());
        let records = changes.filter_map(move |change| {
            let _held = &held;
            let item = match change {
                Ok(Some(frame)) => camera
                    .as_ref()
                    .is_none_or(|camera| *camera == frame.new.camera_id)
                    .then(|| Ok(FrameRecord::from(&*frame))),
                Ok(None) => Some(Err(Status::data_loss(
                    "changes were missed, list the frames again",
                ))),
                Err(BroadcastStreamRecvError::Lagged(missed)) => Some(Err(Status::data_loss(
                    format!("{missed} changes were missed, list the frames again"),
                ))),
            };
            std::future::ready(item)
        });
        let revoked = revoked(self.gate.clone(), caller).map(Err).into_stream();
        let records = futures::stream::select(records, revoked)
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

fn state(request: &ListFramesRequest) -> Result<Option<FrameState>, Status> {
    if request.state == v1::FrameState::Unspecified as i32 {
        return Ok(None);
    }
    use FrameState::{Decoded, Failed, Labelled, Queued};
    let asked = v1::FrameState::try_from(request.state);
    let mut states = [Queued, Decoded, Labelled, Failed].into_iter();
    let state = states.find(|&state| asked == Ok(state.into()));
    let unknown = || Status::invalid_argument(format!("state {} is not known", request.state));
    state.ok_or_else(unknown).map(Some)
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
