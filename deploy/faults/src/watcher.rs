//! Reads each frame as it comes to the cloud, so that frames which retention removes later are known.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use anyhow::Result;
use uuid::Uuid;

use crate::{
    caller::Caller,
    found::{Found, Row, look, page},
    object_reader::ObjectReader,
};

/// The frames seen so far.
#[derive(Default)]
pub(crate) struct Watcher(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    frames: HashMap<Uuid, Found>,
    /// In the order of arrival.
    order: Vec<Uuid>,
}

impl Watcher {
    /// Sees all that came since the last look.
    pub(crate) async fn look(
        &self,
        caller: &Caller,
        objects: &ObjectReader,
        cloud: SocketAddr,
    ) -> Result<()> {
        let mut fresh: Vec<Row> = Vec::new();
        let mut before = None;
        loop {
            let (rows, next) = page(caller, cloud, before).await?;
            let known = rows.iter().position(|row| self.has(row.record.id));
            fresh.extend(rows.into_iter().take(known.unwrap_or(usize::MAX)));
            before = match (known, next) {
                (None, Some(next)) => Some(next),
                _ => break,
            };
        }
        fresh.reverse();
        let found = look(objects, fresh).await?;
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for frame in found {
            let id = frame.row.record.id;
            seen.order.push(id);
            seen.frames.insert(id, frame);
        }
        Ok(())
    }

    /// All frames that came so far.
    pub(crate) fn seen(&self) -> HashMap<Uuid, Found> {
        self.lock(|seen| seen.frames.clone())
    }

    /// Their order of arrival.
    pub(crate) fn order(&self) -> Vec<Uuid> {
        self.lock(|seen| seen.order.clone())
    }

    /// Number of frames from a camera.
    pub(crate) fn count(&self, camera: &str) -> u64 {
        self.lock(|seen| {
            let all = seen.frames.values();
            all.filter(|found| found.row.record.camera == camera)
                .count() as u64
        })
    }

    fn has(&self, id: Uuid) -> bool {
        self.lock(|seen| seen.frames.contains_key(&id))
    }

    fn lock<T>(&self, read: impl FnOnce(&Seen) -> T) -> T {
        read(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
