//! A proxy in front of an S3 server that fails, delays or corrupts requests and answers.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Result;
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use reqwest::Client;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::timeout};

/// One answer in so many is corrupted while the server corrupts.
const CORRUPT_ONE_IN: u32 = 3;

/// The apparent state of the server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mood {
    Well,
    /// Answers 503; of some requests only after it did what they ask for.
    Fails,
    /// Does everything so much later.
    Slow(Duration),
    /// A bit of some objects is another one when they are read.
    Corrupts,
}

/// The door.
pub(crate) struct S3Proxy {
    pub(crate) address: SocketAddr,
    mood: watch::Sender<Mood>,
    corrupted: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

struct Behind {
    endpoint: String,
    client: Client,
    mood: watch::Receiver<Mood>,
    corrupted: Arc<AtomicU64>,
    dice: Mutex<StdRng>,
}

impl S3Proxy {
    /// Opens one in front of `endpoint`.
    pub(crate) async fn start(endpoint: &str, seed: u64) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (mood, of_mood) = watch::channel(Mood::Well);
        let corrupted = Arc::default();
        let behind = Behind {
            endpoint: endpoint.to_owned(),
            client: testing::client(),
            mood: of_mood,
            corrupted: Arc::clone(&corrupted),
            dice: Mutex::new(StdRng::seed_from_u64(seed)),
        };
        let app = Router::new().fallback(pass).with_state(Arc::new(behind));
        let task = tokio::spawn(async move {
            // It never ends by itself.
            axum::serve(listener, app).await.ok();
        });
        Ok(Self {
            address,
            mood,
            corrupted,
            task,
        })
    }

    /// Changes how the server seems to fare.
    pub(crate) fn set_mood(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// Answers that were corrupted so far.
    pub(crate) fn corrupted(&self) -> u64 {
        self.corrupted.load(Relaxed)
    }
}

impl Drop for S3Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(State(behind): State<Arc<Behind>>, request: Request) -> Response {
    let mood = *behind.mood.borrow();
    let unavailable = || StatusCode::SERVICE_UNAVAILABLE.into_response();
    match mood {
        Mood::Fails if behind.dice(2) => return unavailable(),
        Mood::Slow(delay) => {
            // Not longer than the server is slow.
            let mut mood = behind.mood.clone();
            let other = mood.wait_for(|now| !matches!(now, Mood::Slow(_)));
            timeout(delay, other).await.ok();
        }
        _ => {}
    }
    match behind.forward(request, mood).await {
        Ok(_) if mood == Mood::Fails => unavailable(),
        Ok(response) => response,
        // It is being stalled or ended.
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

impl Behind {
    async fn forward(&self, request: Request, mood: Mood) -> Result<Response> {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, usize::MAX).await?;
        let target = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let is_object = parts.method == Method::GET && parts.uri.query().is_none();
        let mut headers = parts.headers;
        headers.remove(header::HOST);
        let sent = self
            .client
            .request(parts.method, format!("{}{target}", self.endpoint))
            .headers(headers)
            .body(body)
            .send()
            .await?;
        let (status, mut headers) = (sent.status(), sent.headers().clone());
        headers.remove(header::TRANSFER_ENCODING);
        headers.remove(header::CONNECTION);
        let mut body: Vec<u8> = sent.bytes().await?.into();
        if mood == Mood::Corrupts && is_object && !body.is_empty() && self.dice(CORRUPT_ONE_IN) {
            self.flip(&mut body);
            self.corrupted.fetch_add(1, Relaxed);
        }
        Ok(answer(status, headers, body))
    }

    fn flip(&self, body: &mut [u8]) {
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        let at = dice.random_range(0..body.len());
        body[at] ^= 1 << dice.random_range(0..8);
    }

    /// True once in so many times.
    fn dice(&self, one_in: u32) -> bool {
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        dice.random_ratio(1, one_in)
    }
}

fn answer(status: StatusCode, headers: HeaderMap, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECT: &[u8] = &[0; 1000];

    /// A server that has one object, and a door in front of it.
    async fn behind_door() -> (S3Proxy, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let app = Router::new().fallback(async || OBJECT);
        tokio::spawn(async move { axum::serve(listener, app).await });
        let door = S3Proxy::start(&endpoint, 1).await.expect("a door");
        let url = format!("http://{}/bucket/object", door.address);
        (door, url)
    }

    async fn got(url: &str) -> (StatusCode, Vec<u8>) {
        let answer = testing::client().get(url).send().await.expect("an answer");
        (answer.status(), answer.bytes().await.expect("bytes").into())
    }

    #[tokio::test]
    async fn the_door_corrupts_some_objects_by_one_bit_and_no_lists() {
        let (door, url) = behind_door().await;
        assert_eq!(got(&url).await, (StatusCode::OK, OBJECT.to_vec()));
        door.set_mood(Mood::Corrupts);
        for _ in 0..100 {
            let list = format!("{url}?list-type=2");
            assert_eq!(got(&list).await.1, OBJECT);
            let (_, body) = got(&url).await;
            let ones: u32 = body.iter().map(|byte| byte.count_ones()).sum();
            assert!(ones <= 1, "{ones} bits are others");
        }
        assert!(door.corrupted() > 0, "nothing was corrupted");
        door.set_mood(Mood::Well);
        assert_eq!(got(&url).await.1, OBJECT);
    }

    #[tokio::test]
    async fn the_door_fails_and_recovers() {
        let (door, url) = behind_door().await;
        door.set_mood(Mood::Fails);
        for _ in 0..10 {
            assert_eq!(got(&url).await.0, StatusCode::SERVICE_UNAVAILABLE);
        }
        door.set_mood(Mood::Well);
        assert_eq!(got(&url).await.0, StatusCode::OK);
    }
}
