//! Looks at each frame as it comes to the cloud, so that what retention takes later is known.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use tokio::time::sleep;
use uuid::Uuid;

use crate::{
    found::{Found, Row, look, page},
    site::Site,
};

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(700);

/// What was seen.
#[derive(Default)]
pub(crate) struct Watcher(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    frames: HashMap<Uuid, Found>,
    /// In the order of arrival.
    order: Vec<Uuid>,
}

impl Watcher {
    /// Looks until the run ends. Never returns.
    pub(crate) async fn watch(&self, site: &Site) {
        loop {
            // The cloud may be away, and comes back.
            if let Err(error) = self.look(site).await {
                site.tell_once(&format!("looking at new frames: {}", error.root_cause()));
            }
            sleep(LOOK).await;
        }
    }

    /// Sees all that came since the last look.
    pub(crate) async fn look(&self, site: &Site) -> Result<()> {
        let Some(at) = site.shown() else {
            return Ok(());
        };
        let mut fresh: Vec<Row> = Vec::new();
        let mut before = None;
        loop {
            let (rows, next) = page(&site.caller, at.http, before).await?;
            let known = rows.iter().position(|row| self.has(row.record.id));
            fresh.extend(rows.into_iter().take(known.unwrap_or(usize::MAX)));
            before = match (known, next) {
                (None, Some(next)) => Some(next),
                _ => break,
            };
        }
        fresh.reverse();
        let found = look(&site.vault, fresh).await?;
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

    /// How many came from a camera.
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
