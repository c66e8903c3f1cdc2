//! Bodies of frames on their way in.
//!
//! A frame that is being handled holds one of few permits, which a sender must not hold for as long as it likes. So bodies are
//! read before, as many at once as there are, within bounds of their own: of bytes in all and of one sender, and of time.
//! A sender is an address: it chooses the names of its cameras itself.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    extract::Request,
    http::{StatusCode, header},
};
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::time::{Instant, timeout_at};

use super::error::HttpError;

/// Largest bodies that are on their way at once.
const BODIES: usize = 4;
/// Bytes a second at which a body has to arrive, on average,
const LEAST_RATE: usize = 1024;
/// and the time that it has beside that.
const HEAD_START: Duration = Duration::from_secs(5);
/// Room for the first bytes.
const FIRST: usize = 16 << 10;

/// What all bodies on their way may take.
pub(crate) struct Bodies {
    /// Largest body.
    most: usize,
    /// Longest that one may take.
    patience: Duration,
    held: Arc<Mutex<Held>>,
}

#[derive(Default)]
struct Held {
    all: usize,
    by_sender: HashMap<IpAddr, usize>,
}

/// The bytes of one body, until they are handed on.
struct Charge {
    held: Arc<Mutex<Held>>,
    sender: IpAddr,
    bytes: usize,
}

impl Bodies {
    pub(crate) fn new(most: usize, patience: Duration) -> Self {
        Self {
            most,
            patience,
            held: Arc::default(),
        }
    }

    /// Reads a body and gives it to `admit`; its bytes count as on their way until that has taken it.
    pub(super) async fn read<T>(
        &self,
        request: Request,
        sender: IpAddr,
        admit: impl FnOnce(Bytes) -> Result<T, HttpError>,
    ) -> Result<T, HttpError> {
        let announced = request.headers().get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|length| length > self.most) {
            return Err(self.too_large());
        }
        let largest = announced.unwrap_or(self.most);
        let mut charge = Charge {
            held: self.held.clone(),
            sender,
            bytes: 0,
        };
        let mut chunks = request.into_body().into_data_stream();
        let mut bytes = Vec::new();
        let start = Instant::now();
        loop {
            let chunk = match timeout_at(start + self.due(bytes.len()), chunks.next()).await {
                Err(_) => return Err(self.late(start.elapsed())),
                Ok(None) => break,
                Ok(Some(Err(_))) => {
                    return Err(HttpError::bad_request("body ended before it was complete"));
                }
                Ok(Some(Ok(chunk))) => chunk,
            };
            let length = bytes.len() + chunk.len();
            if length > self.most {
                return Err(self.too_large());
            }
            if length > bytes.capacity() {
                let room = FIRST.max(2 * bytes.capacity()).min(largest).max(length);
                if !charge.grow(room, self.most) {
                    return Err(HttpError::too_many_bytes());
                }
                bytes.reserve_exact(room - bytes.len());
            }
            bytes.extend_from_slice(&chunk);
        }
        admit(bytes.into())
    }

    /// How long after its start a body must have more than these bytes.
    fn due(&self, bytes: usize) -> Duration {
        let rate = Duration::from_secs((bytes / LEAST_RATE) as u64);
        self.patience.min(HEAD_START + rate)
    }

    fn too_large(&self) -> HttpError {
        HttpError::too_large(format!("body is larger than {} bytes", self.most))
    }

    fn late(&self, after: Duration) -> HttpError {
        let sentence = match after >= self.patience {
            true => format!(
                "body did not arrive within {} seconds",
                self.patience.as_secs()
            ),
            false => format!("body arrives more slowly than {LEAST_RATE} bytes a second"),
        };
        HttpError::new(StatusCode::REQUEST_TIMEOUT, sentence)
    }
}

impl Charge {
    /// Whether there is room for so many bytes of this body, where one may have `most`.
    fn grow(&mut self, bytes: usize, most: usize) -> bool {
        let more = bytes - self.bytes;
        let mut held = lock(&self.held);
        let own = held.by_sender.get(&self.sender).copied().unwrap_or(0);
        if held.all + more > BODIES * most || own + more > most {
            return false;
        }
        held.all += more;
        held.by_sender.insert(self.sender, own + more);
        self.bytes = bytes;
        true
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        held.all -= self.bytes;
        if let Some(own) = held.by_sender.get_mut(&self.sender) {
            *own -= self.bytes;
            if *own == 0 {
                held.by_sender.remove(&self.sender);
            }
        }
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sender_leaves_room_for_others() {
        let held = Arc::<Mutex<Held>>::default();
        let charge = |last: u8| Charge {
            held: held.clone(),
            sender: [192, 0, 2, last].into(),
            bytes: 0,
        };
        let [mut first, mut again, mut other] = [charge(1), charge(1), charge(2)];
        assert!(first.grow(600, 1000) && first.grow(800, 1000));
        assert!(!again.grow(300, 1000), "more than the sender may have");
        assert!(again.grow(200, 1000) && other.grow(1000, 1000));
        let mut rest: Vec<_> = (3..6).map(charge).collect();
        let fit: Vec<_> = rest.iter_mut().map(|c| c.grow(1000, 1000)).collect();
        assert_eq!(fit, [true, true, false], "more than all may have");
        drop((first, again, other, rest));
        let held = lock(&held);
        assert_eq!((held.all, held.by_sender.len()), (0, 0));
    }
}
