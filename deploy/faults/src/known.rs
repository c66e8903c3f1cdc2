//! Frames of the cloud, now and earlier in the run.

use std::collections::HashMap;

use uuid::Uuid;

use crate::found::Found;

/// Frames that the cloud has, or had and gave up.
pub(crate) struct Known {
    pub(crate) there: HashMap<Uuid, Found>,
    /// As they were seen when they came, where the run looked.
    pub(crate) seen: HashMap<Uuid, Found>,
}

impl Known {
    /// A frame, now or as it was seen earlier.
    pub(crate) fn find(&self, id: Uuid) -> Option<&Found> {
        self.there.get(&id).or_else(|| self.seen.get(&id))
    }

    /// Every frame.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Uuid, &Found)> {
        let gone = self
            .seen
            .iter()
            .filter(|(id, _)| !self.there.contains_key(*id));
        self.there.iter().chain(gone)
    }
}
