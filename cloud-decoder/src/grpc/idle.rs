//! Connections on which nobody calls are closed.
//!
//! HTTP/2 pings find out whether the other side is there, not whether it wants anything: a client that answers them and
//! never opens a stream would hold its connection for good.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use daemon::tls::Stream;
use http_body_util::BodyExt as _;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep, sleep_until},
};
use tonic::{
    body::Body,
    codegen::{BoxFuture, Service, http},
    transport::server::Connected,
};

/// The calls of one connection.
#[derive(Clone, Debug)]
pub(super) struct Calls(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    open: usize,
    /// When the last one ended, or the connection began.
    quiet_since: Instant,
}

/// A call that is under way.
struct Call(Calls);

impl Calls {
    fn begin(&self) -> Call {
        self.state().open += 1;
        Call(self.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.open -= 1;
        state.quiet_since = Instant::now();
    }
}

/// A connection that holds its place, and ends when it has been without a call for too long.
pub(super) struct Connection {
    stream: Stream,
    calls: Calls,
    most: Duration,
    timer: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    pub(super) fn new(stream: Stream, place: OwnedSemaphorePermit, most: Duration) -> Self {
        let now = Instant::now();
        let state = State {
            open: 0,
            quiet_since: now,
        };
        Self {
            stream,
            calls: Calls(Arc::new(Mutex::new(state))),
            most,
            timer: Box::pin(sleep_until(now + most)),
            _place: place,
        }
    }

    /// Ready when there was no call for too long. The connection reads whenever it is polled, so it is asked then.
    fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(context));
            let now = Instant::now();
            let quiet_since = {
                let state = self.calls.state();
                if state.open == 0 {
                    state.quiet_since
                } else {
                    now
                }
            };
            if quiet_since + self.most <= now {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(quiet_since + self.most);
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
        if self.poll_idle(context).is_ready() {
            tracing::debug!("closing a connection that had no call for {:?}", self.most);
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
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
        let call = request.extensions().get::<Calls>().map(Calls::begin);
        let answer = self.0.call(request);
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
