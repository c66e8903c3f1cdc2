//! Reads the bodies of frames.
//!
//! A frame that is being handled holds one of few permits, and a slow sender must not hold one. So bodies are read
//! before, any number at a time, within bounds of their own: bytes in total, bytes per sender, and time. A sender is an
//! address, because the names of cameras are the sender's own choice.

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
use daemon::http_error::HttpError;
use futures::StreamExt as _;
use tokio::time::{Instant, timeout_at};

use super::error::Refused;

/// Bodies of the largest size that fit into memory at once.
const BODIES: usize = 4;
/// Average bytes per second at which a body must arrive.
const MIN_RATE: usize = 1024;
/// Time that a body has in addition.
const HEAD_START: Duration = Duration::from_secs(5);
/// Size of the first buffer in bytes.
const FIRST_BUFFER: usize = 16 << 10;

/// Bounds on the bodies that are being read.
pub(crate) struct Bodies {
    /// Largest body in bytes.
    most: usize,
    /// Longest time for one body.
    patience: Duration,
    usage: Arc<Mutex<Usage>>,
}

#[derive(Default)]
struct Usage {
    all: usize,
    by_sender: HashMap<IpAddr, usize>,
}

/// Memory of one body, until it is handed on.
struct Charge {
    usage: Arc<Mutex<Usage>>,
    sender: IpAddr,
    bytes: usize,
}

impl Bodies {
    pub(crate) fn new(most: usize, patience: Duration) -> Self {
        Self {
            most,
            patience,
            usage: Arc::default(),
        }
    }

    /// Reads a body and gives it to `admit`. Its bytes count until `admit` has returned.
    pub(super) async fn read<T>(
        &self,
        request: Request,
        sender: IpAddr,
        admit: impl FnOnce(Bytes) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let announced = request.headers().get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|length| length > self.most) {
            return Err(self.too_large().into());
        }
        let largest = announced.unwrap_or(self.most);
        let mut charge = Charge {
            usage: self.usage.clone(),
            sender,
            bytes: 0,
        };
        let mut chunks = request.into_body().into_data_stream();
        let mut bytes = Vec::new();
        let start = Instant::now();
        loop {
            let chunk = match timeout_at(start + self.due(bytes.len()), chunks.next()).await {
                Err(_) => return Err(self.late(start.elapsed()).into()),
                Ok(None) => break,
                Ok(Some(Err(_))) => {
                    let sentence = "body ended before it was complete";
                    return Err(HttpError::bad_request(sentence).into());
                }
                Ok(Some(Ok(chunk))) => chunk,
            };
            let length = bytes.len() + chunk.len();
            if length > self.most {
                return Err(self.too_large().into());
            }
            if length > bytes.capacity() {
                let room = FIRST_BUFFER
                    .max(2 * bytes.capacity())
                    .min(largest)
                    .max(length);
                if !charge.grow(room, self.most) {
                    let sentence = "too many bytes of frames are being received, try again later";
                    return Err(Refused::overloaded(sentence));
                }
                bytes.reserve_exact(room - bytes.len());
            }
            bytes.extend_from_slice(&chunk);
        }
        admit(bytes.into())
    }

    /// Time after its start by which a body must have more than so many bytes.
    fn due(&self, bytes: usize) -> Duration {
        let rate = Duration::from_secs((bytes / MIN_RATE) as u64);
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
            false => format!("body arrives more slowly than {MIN_RATE} bytes a second"),
        };
        HttpError::new(StatusCode::REQUEST_TIMEOUT, sentence)
    }
}

impl Charge {
    /// Grows to so many bytes, if there is room. A body may have at most `most`.
    fn grow(&mut self, bytes: usize, most: usize) -> bool {
        let more = bytes - self.bytes;
        let mut usage = lock(&self.usage);
        let own = usage.by_sender.get(&self.sender).copied().unwrap_or(0);
        if usage.all + more > BODIES * most || own + more > most {
            return false;
        }
        usage.all += more;
        usage.by_sender.insert(self.sender, own + more);
        self.bytes = bytes;
        true
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut usage = lock(&self.usage);
        usage.all -= self.bytes;
        if let Some(own) = usage.by_sender.get_mut(&self.sender) {
            *own -= self.bytes;
            if *own == 0 {
                usage.by_sender.remove(&self.sender);
            }
        }
    }
}

fn lock(usage: &Mutex<Usage>) -> MutexGuard<'_, Usage> {
    usage.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sender_leaves_room_for_others() {
        let usage = Arc::<Mutex<Usage>>::default();
        let charge = |last: u8| Charge {
            usage: usage.clone(),
            sender: [192, 0, 2, last].into(),
            bytes: 0,
        };
        let [mut first, mut again, mut other] = [charge(1), charge(1), charge(2)];
        assert!(first.grow(600, 1000) && first.grow(800, 1000));
        assert!(!again.grow(300, 1000), "more than one sender may have");
        assert!(again.grow(200, 1000) && other.grow(1000, 1000));
        let mut rest: Vec<_> = (3..6).map(charge).collect();
        let fit: Vec<_> = rest.iter_mut().map(|c| c.grow(1000, 1000)).collect();
        assert_eq!(fit, [true, true, false], "more than all may have");
        drop((first, again, other, rest));
        let usage = lock(&usage);
        assert_eq!((usage.all, usage.by_sender.len()), (0, 0));
    }
}
