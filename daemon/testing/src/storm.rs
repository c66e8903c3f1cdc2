//! A stranger who tries to take all connections of a door.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    runtime,
    sync::oneshot,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

/// Wait of a client whose connection was closed or refused.
const AGAIN: Duration = Duration::from_millis(500);
/// Longest that all clients are waited for before the storm counts as there.
const CALM: Duration = Duration::from_secs(2);

/// Connections that say a few bytes and then nothing, and come again when they are closed; until it is dropped. They
/// have a thread of their own, so that they take no other time of the service than strangers do.
pub struct Storm {
    _stop: oneshot::Sender<()>,
    connects: Arc<AtomicU64>,
}

impl Storm {
    /// Begins, and returns when each client has been connected or has tried for two seconds. All of them come from one
    /// address of this machine.
    pub async fn start(
        door: SocketAddr,
        from: IpAddr,
        clients: usize,
        says: &'static [u8],
    ) -> Self {
        let connects = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = oneshot::channel();
        let counted = connects.clone();
        thread::spawn(move || {
            let mut runtime = runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut running = JoinSet::new();
                for _ in 0..clients {
                    running.spawn(client(door, from, says, counted.clone()));
                }
                stopped.await.ok();
            });
        });
        let all = async {
            while connects.load(Ordering::Relaxed) < clients as u64 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(CALM, all).await.ok();
        Self {
            _stop: stop,
            connects,
        }
    }

    /// Connections that were made.
    pub fn connects(&self) -> u64 {
        self.connects.load(Ordering::Relaxed)
    }
}

async fn client(door: SocketAddr, from: IpAddr, says: &'static [u8], connects: Arc<AtomicU64>) {
    loop {
        if let Ok(mut stream) = connect(from, door).await {
            connects.fetch_add(1, Ordering::Relaxed);
            stream.write_all(says).await.ok();
            while let Ok(1..) = stream.read(&mut [0; 256]).await {}
        }
        sleep(AGAIN).await;
    }
}

async fn connect(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    socket.connect(to).await
}

/// Does something again and again for a time, and gives the longest that it took until it was done once more.
pub async fn longest_outage(lasting: Duration, mut once: impl AsyncFnMut() -> bool) -> Duration {
    const PATIENCE: Duration = Duration::from_secs(3);
    let (start, mut longest, mut last) = (Instant::now(), Duration::ZERO, Instant::now());
    while start.elapsed() < lasting {
        if timeout(PATIENCE, once()).await == Ok(true) {
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        sleep(Duration::from_millis(50)).await;
    }
    longest.max(last.elapsed())
}
