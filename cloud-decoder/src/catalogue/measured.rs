//! A catalogue whose calls are counted and timed.

use std::sync::Arc;

use tonic::async_trait;
use uuid::Uuid;

use super::{
    Camera, Catalogue, CatalogueError, History, Kept, LatentSample, Lead, Metric, Page, Place,
    Seen, Series, Span, StoreId, Totals,
};
use crate::{
    frame::{Frame, NewFrame, Quality, Work},
    metrics::{Access, Metrics},
};

/// Passes each call on.
pub(crate) struct Measured {
    pub(crate) inner: Arc<dyn Catalogue>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Measured {
    async fn read<T>(
        &self,
        call: impl Future<Output = Result<T, CatalogueError>>,
    ) -> Result<T, CatalogueError> {
        self.metrics.catalogue.time(Access::Read, call).await
    }

    async fn write<T>(
        &self,
        call: impl Future<Output = Result<T, CatalogueError>>,
    ) -> Result<T, CatalogueError> {
        self.metrics.catalogue.time(Access::Write, call).await
    }
}

#[async_trait]
impl Catalogue for Measured {
    async fn insert(&self, frames: Vec<NewFrame>) -> Result<Vec<Option<Frame>>, CatalogueError> {
        self.write(self.inner.insert(frames)).await
    }

    async fn get(&self, id: Uuid) -> Result<Option<Frame>, CatalogueError> {
        self.read(self.inner.get(id)).await
    }

    async fn list(&self, page: &Page) -> Result<Option<Vec<Frame>>, CatalogueError> {
        self.read(self.inner.list(page)).await
    }

    async fn labels(&self, page: &Page) -> Result<Option<Vec<Seen>>, CatalogueError> {
        self.read(self.inner.labels(page)).await
    }

    async fn decoded(
        &self,
        id: Uuid,
        quality: Quality,
        work: Work,
        bytes: u64,
    ) -> Result<Option<Frame>, CatalogueError> {
        let call = self.inner.decoded(id, quality, work, bytes);
        self.write(call).await
    }

    async fn failed_for(&self, reason: &str, limit: u32) -> Result<Vec<Uuid>, CatalogueError> {
        self.read(self.inner.failed_for(reason, limit)).await
    }

    async fn failed(&self, id: Uuid, reason: &str) -> Result<Option<Frame>, CatalogueError> {
        self.write(self.inner.failed(id, reason)).await
    }

    async fn requeue(&self, id: Uuid, bytes: u64) -> Result<Option<Frame>, CatalogueError> {
        self.write(self.inner.requeue(id, bytes)).await
    }

    async fn oldest(&self, limit: u32) -> Result<Vec<Frame>, CatalogueError> {
        self.read(self.inner.oldest(limit)).await
    }

    async fn remove(&self, frames: &[Uuid]) -> Result<(), CatalogueError> {
        self.write(self.inner.remove(frames)).await
    }

    async fn kept(&self) -> Result<Kept, CatalogueError> {
        self.read(self.inner.kept()).await
    }

    async fn due(&self, before_ms: i64, bytes: u64) -> Result<Kept, CatalogueError> {
        self.read(self.inner.due(before_ms, bytes)).await
    }

    async fn queued(&self) -> Result<u64, CatalogueError> {
        self.read(self.inner.queued()).await
    }

    async fn place(&self, id: Uuid) -> Result<Option<Place>, CatalogueError> {
        self.read(self.inner.place(id)).await
    }

    async fn queued_since(&self) -> Result<Option<i64>, CatalogueError> {
        self.read(self.inner.queued_since()).await
    }

    async fn cameras(&self, limit: u32, offset: u32) -> Result<Vec<Camera>, CatalogueError> {
        self.read(self.inner.cameras(limit, offset)).await
    }

    async fn totals(&self, live_since_ms: i64) -> Result<Totals, CatalogueError> {
        self.read(self.inner.totals(live_since_ms)).await
    }

    async fn series(
        &self,
        camera: &str,
        metric: Metric,
        limit: u32,
    ) -> Result<Series, CatalogueError> {
        self.read(self.inner.series(camera, metric, limit)).await
    }

    async fn history(&self, span: &Span) -> Result<History, CatalogueError> {
        self.read(self.inner.history(span)).await
    }

    async fn latents(&self, camera: &str, limit: u32) -> Result<Vec<LatentSample>, CatalogueError> {
        self.read(self.inner.latents(camera, limit)).await
    }

    async fn store(&self) -> Result<Option<StoreId>, CatalogueError> {
        self.read(self.inner.store()).await
    }

    async fn name_store(&self, id: Uuid) -> Result<(), CatalogueError> {
        self.write(self.inner.name_store(id)).await
    }

    async fn pair_store(&self) -> Result<(), CatalogueError> {
        self.write(self.inner.pair_store()).await
    }

    async fn absent(&self, frames: &[Uuid]) -> Result<Vec<Uuid>, CatalogueError> {
        self.read(self.inner.absent(frames)).await
    }

    async fn now_ms(&self) -> Result<i64, CatalogueError> {
        self.read(self.inner.now_ms()).await
    }

    async fn untried(&self) -> Result<bool, CatalogueError> {
        self.read(self.inner.untried()).await
    }

    async fn risk(&self, id: Uuid) -> Result<(), CatalogueError> {
        self.write(self.inner.risk(id)).await
    }

    async fn lead(&self) -> Result<Option<Lead>, CatalogueError> {
        self.inner.lead().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
