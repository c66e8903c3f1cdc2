//! The accept loop, through real sockets.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Extension, Router,
    http::{HeaderValue, StatusCode, Uri, header},
    routing::{get, post},
};
use daemon::{
    http::{Limits, compressed, serve},
    lenient::Slashed,
    slots::Peer,
    tls::Acceptor,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_secs(600);
const LIMITS: Limits = Limits {
    max_connections: 8,
    head_timeout: LONG,
    stall_timeout: LONG,
    drain: LONG,
};

struct Server {
    addr: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(router: Router, limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let addr = listener.local_addr().expect("address");
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(
            listener,
            Acceptor::default(),
            router,
            limits,
            stop.clone(),
        ));
        Self { addr, stop, task }
    }

    /// A connection that was served once and stays open.
    async fn client(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.addr).await.expect("connect");
        ask(&mut stream).await;
        answer(&mut stream).await;
        stream
    }

    async fn ended(self) {
        let ended = timeout(PATIENCE, self.task).await.expect("it ends");
        ended.expect("it does not panic");
    }
}

fn hello() -> Router {
    Router::new().route("/", get(async || "hello"))
}

/// A route that tells when a request has come and answers when told to.
fn slow() -> (Router, mpsc::Receiver<()>, CancellationToken) {
    let (come, arrived) = mpsc::channel(1);
    let go = CancellationToken::new();
    let until = go.clone();
    let route = get(async move || {
        come.send(()).await.expect("the test waits for it");
        until.cancelled().await;
        "hello"
    });
    (Router::new().route("/", route), arrived, go)
}

async fn ask(stream: &mut TcpStream) {
    let head = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";
    stream.write_all(head).await.expect("write");
}

/// Reads up to the body that all routes here have.
async fn answer(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let read = async {
        while !text.ends_with("hello") {
            let mut bytes = [0; 512];
            let count = stream.read(&mut bytes).await.expect("read");
            assert!(count > 0, "closed after {text:?}");
            text.push_str(std::str::from_utf8(&bytes[..count]).expect("text"));
        }
    };
    timeout(PATIENCE, read).await.expect("an answer in time");
    text
}

/// The peer closes without a byte more.
async fn closed(stream: &mut TcpStream) {
    let read = timeout(PATIENCE, stream.read(&mut [0; 64])).await;
    assert!(matches!(read.expect("closed in time"), Ok(0) | Err(_)));
}

/// Answers a path with what the route was given, and the word that all answers here end with.
#[tokio::test]
async fn a_slash_at_the_end_and_a_parameter_against_caches_mean_nothing() {
    let told = async |uri: Uri, slashed: Option<Extension<Slashed>>| {
        format!("<{uri}> {} hello", slashed.is_some())
    };
    let router = Router::new().route("/", get(told)).route("/a/b", get(told));
    let server = Server::start(router, LIMITS).await;
    for (asked, given) in [
        ("/", "</> false"),
        ("//", "</> true"),
        ("/a/b", "</a/b> false"),
        ("/a/b/", "</a/b> true"),
        ("/a/b//?c=d/", "</a/b?c=d/> true"),
        ("/a/b?_=1720", "</a/b> false"),
        ("/a/b?_", "</a/b> false"),
        ("/a/b?c=1&_=1720&d=%2F", "</a/b?c=1&d=%2F> false"),
        ("/a/b/?_=1&_=2", "</a/b> true"),
        ("/a/b?__=1&a_=2", "</a/b?__=1&a_=2> false"),
    ] {
        let mut stream = TcpStream::connect(server.addr).await.expect("connect");
        let head = format!("GET {asked} HTTP/1.1\r\nhost: test\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("write");
        let answer = answer(&mut stream).await;
        assert!(
            answer.contains(&format!("{given} hello")),
            "{asked}: {answer}"
        );
    }
    server.stop.cancel();
    server.ended().await;
}

#[test]
fn only_a_body_as_it_is_counts_as_uncompressed() {
    let told = |values: &[&'static str]| {
        let values = values.iter().map(|value| HeaderValue::from_static(value));
        let headers = values.map(|value| (header::CONTENT_ENCODING, value));
        compressed(&headers.collect())
    };
    for plain in [&[][..], &["identity"], &["Identity, identity"], &[""]] {
        assert_eq!(told(plain), None, "{plain:?}");
    }
    assert_eq!(told(&["gzip"]).as_deref(), Some("gzip"));
    assert_eq!(told(&["identity", "BR"]).as_deref(), Some("identity, BR"));
}

#[tokio::test]
async fn one_more_stranger_takes_the_place_of_the_oldest() {
    let limits = Limits {
        max_connections: 2,
        ..LIMITS
    };
    let server = Server::start(hello(), limits).await;
    let (mut first, mut second) = (server.client().await, server.client().await);
    // Not before the first one had the time for a request.
    let _hasty = TcpStream::connect(server.addr).await.expect("connect");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut third = server.client().await;
    closed(&mut first).await;
    for stream in [&mut second, &mut third] {
        ask(stream).await;
        answer(stream).await;
    }
    server.stop.cancel();
    server.ended().await;
}

#[tokio::test]
async fn strangers_take_no_place_of_those_who_are_known() {
    let limits = Limits {
        max_connections: 1,
        ..LIMITS
    };
    let known = get(async |Extension(peer): Extension<Peer>| {
        peer.authenticated();
        "hello"
    });
    let server = Server::start(Router::new().route("/", known), limits).await;
    let mut known = server.client().await;
    let mut strangers = Vec::new();
    for _ in 0..4 {
        strangers.push(TcpStream::connect(server.addr).await.expect("connect"));
    }
    ask(&mut known).await;
    answer(&mut known).await;
    server.stop.cancel();
    server.ended().await;
}

#[tokio::test]
async fn a_stop_is_heard_while_all_places_are_taken() {
    let (router, mut arrived, _go) = slow();
    let limits = Limits {
        max_connections: 1,
        drain: Duration::from_millis(50),
        ..LIMITS
    };
    let server = Server::start(router, limits).await;
    let mut only = TcpStream::connect(server.addr).await.expect("connect");
    ask(&mut only).await;
    timeout(PATIENCE, arrived.recv()).await.expect("it arrives");
    server.stop.cancel();
    closed(&mut only).await;
    server.ended().await;
}

#[tokio::test]
async fn a_request_in_progress_is_finished() {
    let (router, mut arrived, go) = slow();
    let server = Server::start(router, LIMITS).await;
    let mut stream = TcpStream::connect(server.addr).await.expect("connect");
    ask(&mut stream).await;
    timeout(PATIENCE, arrived.recv()).await.expect("it arrives");
    server.stop.cancel();
    let refused = async { while TcpStream::connect(server.addr).await.is_ok() {} };
    timeout(PATIENCE, refused).await.expect("the stop is heard");
    go.cancel();
    answer(&mut stream).await;
    closed(&mut stream).await;
    server.ended().await;
}

#[tokio::test]
async fn what_outlasts_the_drain_is_aborted() {
    let (router, mut arrived, _go) = slow();
    let limits = Limits {
        drain: Duration::from_millis(50),
        ..LIMITS
    };
    let server = Server::start(router, limits).await;
    // Connected before the other, so accepted when the other's request has come.
    let mut silent = TcpStream::connect(server.addr).await.expect("connect");
    let mut stuck = TcpStream::connect(server.addr).await.expect("connect");
    ask(&mut stuck).await;
    timeout(PATIENCE, arrived.recv()).await.expect("it arrives");
    server.stop.cancel();
    closed(&mut silent).await;
    closed(&mut stuck).await;
    server.ended().await;
}

#[tokio::test]
async fn a_head_that_does_not_arrive_is_given_up() {
    let limits = Limits {
        head_timeout: Duration::from_millis(50),
        ..LIMITS
    };
    let server = Server::start(hello(), limits).await;
    let mut stream = TcpStream::connect(server.addr).await.expect("connect");
    stream.write_all(b"GET / HT").await.expect("write");
    let mut rest = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    read.expect("given up in time").expect("closed");
    server.stop.cancel();
    server.ended().await;
}

#[tokio::test]
async fn a_connection_that_asks_nothing_more_is_closed() {
    let limits = Limits {
        head_timeout: Duration::from_millis(50),
        ..LIMITS
    };
    let server = Server::start(hello(), limits).await;
    let mut stream = server.client().await;
    closed(&mut stream).await;
    server.stop.cancel();
    server.ended().await;
}

#[tokio::test]
async fn an_answer_that_is_not_read_is_given_up() {
    let limits = Limits {
        stall_timeout: Duration::from_millis(50),
        ..LIMITS
    };
    let route = get(async || {
        let piece = bytes::Bytes::from_static(&[0; 1 << 16]);
        let endless = futures::stream::repeat_with(move || Ok::<_, std::io::Error>(piece.clone()));
        axum::body::Body::from_stream(endless)
    });
    let server = Server::start(Router::new().route("/", route), limits).await;
    let mut stream = TcpStream::connect(server.addr).await.expect("connect");
    ask(&mut stream).await;
    // The head shows that the answer has begun; then nothing is read.
    let read = timeout(PATIENCE, stream.read(&mut [0; 64])).await;
    assert!(read.expect("in time").expect("a head") > 0);
    server.stop.cancel();
    // It would wait for the answer to be read, and does not.
    server.ended().await;
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let refuse = async || (StatusCode::PAYLOAD_TOO_LARGE, "hello");
    let router = Router::new().route("/", post(refuse));
    let server = Server::start(router, LIMITS).await;
    for _ in 0..20 {
        let mut stream = TcpStream::connect(server.addr).await.expect("connect");
        let length = 4 << 20;
        let head = format!("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("write");
        let body = vec![0; length];
        let sent = timeout(PATIENCE, stream.write_all(&body)).await;
        sent.expect("in time").expect("all of it is taken");
        let answer = answer(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    }
    server.stop.cancel();
    server.ended().await;
}
