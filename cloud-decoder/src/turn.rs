//! Order among tasks that run at the same time: each has its turn once the one before it passed it on.

use tokio::sync::oneshot;

/// A place in the order. Dropping it before it was passed on breaks the order for all after it.
pub(crate) struct Turn {
    before: Option<oneshot::Receiver<()>>,
    after: Option<oneshot::Sender<()>>,
}

/// One before it was dropped without passing the turn on.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a frame before it could not be stored")]
pub(crate) struct Broken;

/// Gives out places.
#[derive(Default)]
pub(crate) struct Order {
    last: Option<oneshot::Receiver<()>>,
}

impl Order {
    /// The place after all that were given out.
    pub(crate) fn next(&mut self) -> Turn {
        let (after, last) = oneshot::channel();
        let before = self.last.replace(last);
        Turn {
            before,
            after: Some(after),
        }
    }
}

impl Turn {
    /// Waits for the one before.
    pub(crate) async fn wait(&mut self) -> Result<(), Broken> {
        match self.before.take() {
            None => Ok(()),
            Some(before) => before.await.map_err(|_| Broken),
        }
    }

    /// Lets the next one go on, if it was not let already.
    pub(crate) fn pass(&mut self) {
        if let Some(after) = self.after.take() {
            // There may be no next.
            after.send(()).ok();
        }
    }
}
