//! Closes connections without calls, connections that are too old, and connections of strangers when others need their
//! slots.
//!
//! HTTP/2 pings show that the other side is alive, not that it needs the connection: a client that answers them and
//! never opens a stream would hold its connection for good. So would one that watches the service's health, which
//! anyone may do and which never ends. A health watch therefore does not count as a call.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use daemon::{
    slots::{Peer, Slot},
    tls::Stream,
};
use http_body_util::BodyExt as _;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{
    Status,
    body::Body,
    codegen::{BoxFuture, Service, http},
    transport::server::Connected,
};

use super::first;

/// Path of the call that never ends by itself and that anyone may make.
const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";
/// Most health watches on one connection.
const MAX_HEALTH_WATCHES: usize = 4;

/// When a connection ends, whatever its client does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// Longest time without a call.
    pub(super) idle: Duration,
    /// Longest age, calls or not.
    pub(super) age: Duration,
}

/// The calls of one connection, and its slot.
#[derive(Clone, Debug)]
pub(super) struct Calls {
    state: Arc<Mutex<State>>,
    pass: Peer,
}

#[derive(Debug)]
struct State {
    open: usize,
    watches: usize,
    /// When the last call ended, or the connection began.
    quiet_since: Instant,
}

/// A call in progress.
struct Call {
    calls: Calls,
    watch: bool,
}

impl Calls {
    /// Counts a call. `None` if it is a health watch and there are too many.
    fn begin(&self, watch: bool) -> Option<Call> {
        let mut state = self.state();
        match watch {
            true if state.watches == MAX_HEALTH_WATCHES => return None,
            true => state.watches += 1,
            false => state.open += 1,
        }
        drop(state);
        let calls = self.clone();
        Some(Call { calls, watch })
    }

    /// Notes that a call of this connection was authorized.
    pub(super) fn known(&self) {
        self.pass.authenticated();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut state = self.calls.state();
        if self.watch {
            state.watches -= 1;
            return;
        }
        state.open -= 1;
        state.quiet_since = Instant::now();
    }
}

/// A connection that holds its slot until it ends.
pub(super) struct Connection {
    stream: Stream,
    calls: Calls,
    idle: Duration,
    idle_timer: Pin<Box<Sleep>>,
    age_timer: Pin<Box<Sleep>>,
    evicted: Pin<Box<WaitForCancellationFutureOwned>>,
    _slot: Slot,
}

impl Connection {
    pub(super) fn new(stream: Stream, slot: Slot, ends: Ends) -> Self {
        let now = Instant::now();
        let state = State {
            open: 0,
            watches: 0,
            quiet_since: now,
        };
        Self {
            stream,
            calls: Calls {
                state: Arc::new(Mutex::new(state)),
                pass: slot.peer(),
            },
            idle: ends.idle,
            idle_timer: Box::pin(sleep_until(now + ends.idle)),
            age_timer: Box::pin(sleep_until(now + ends.age)),
            evicted: Box::pin(slot.evicted()),
            _slot: slot,
        }
    }

    /// Ready, with the reason, when the connection must end. It is polled whenever the connection reads or writes, and
    /// wakes it.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<&'static str> {
        if self.evicted.as_mut().poll(context).is_ready() {
            return Poll::Ready("its place was needed");
        }
        if self.age_timer.as_mut().poll(context).is_ready() {
            return Poll::Ready("it is too old");
        }
        loop {
            ready!(self.idle_timer.as_mut().poll(context));
            let now = Instant::now();
            let quiet_since = {
                let state = self.calls.state();
                if state.open == 0 {
                    state.quiet_since
                } else {
                    now
                }
            };
            if quiet_since + self.idle <= now {
                return Poll::Ready("it had no call for too long");
            }
            self.idle_timer.as_mut().reset(quiet_since + self.idle);
        }
    }

    /// An error when the connection has to end.
    fn check_end(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.poll_end(context) {
            Poll::Pending => Ok(()),
            Poll::Ready(why) => {
                tracing::debug!("closing a connection: {why}");
                Err(io::ErrorKind::TimedOut.into())
            }
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Calls;

    fn connect_info(&self) -> Calls {
        self.calls.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_end(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_end(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_end(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Counts a call from its head to the end of its answer.
#[derive(Clone)]
pub(super) struct Counted<S>(pub(super) S);

impl<S> Service<http::Request<Body>> for Counted<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<Self::Response, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let watch = request.uri().path() == HEALTH_WATCH;
        let call = match request.extensions().get::<Calls>() {
            None => None,
            Some(calls) => match calls.begin(watch) {
                Some(call) => Some(call),
                None => {
                    let told = format!(
                        "{MAX_HEALTH_WATCHES} health watches are open on this connection, which is the most allowed"
                    );
                    let refused = Status::resource_exhausted(told).into_http();
                    return Box::pin(async { Ok(refused) });
                }
            },
        };
        let answer = self.0.call(first::bounded(request));
        Box::pin(async move {
            let answer = answer.await?;
            Ok(answer.map(|body| {
                Body::new(body.map_frame(move |frame| {
                    // Held for as long as the body.
                    let _call = &call;
                    frame
                }))
            }))
        })
    }
}
