//! A stranger who tries to take all connections of a door.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

/// Wait of a client whose connection was closed or refused.
const AGAIN: Duration = Duration::from_millis(500);
/// Longest that a connection is waited for before the storm begins.
const CALM: Duration = Duration::from_secs(2);

/// Connections that say a few bytes and then nothing, and come again when they are closed; until it is dropped.
pub struct Storm {
    _clients: JoinSet<()>,
    connects: Arc<AtomicU64>,
}

impl Storm {
    /// Begins, and returns when each client has been connected or has tried for two seconds.
    /// All of them come from one address of this machine.
    pub async fn start(
        door: SocketAddr,
        from: IpAddr,
        clients: usize,
        says: &'static [u8],
    ) -> Self {
        let mut running = JoinSet::new();
        let connects = Arc::new(AtomicU64::new(0));
        for number in 0..clients {
            // Some at a time, as one machine can.
            if number.is_multiple_of(64) {
                sleep(Duration::from_millis(1)).await;
            }
            let connects = connects.clone();
            running.spawn(async move {
                loop {
                    if let Ok(mut stream) = connect(from, door).await {
                        connects.fetch_add(1, Ordering::Relaxed);
                        stream.write_all(says).await.ok();
                        while let Ok(1..) = stream.read(&mut [0; 256]).await {}
                    }
                    sleep(AGAIN).await;
                }
            });
        }
        let all = async {
            while connects.load(Ordering::Relaxed) < clients as u64 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(CALM, all).await.ok();
        Self {
            _clients: running,
            connects,
        }
    }

    /// Connections that were made.
    pub fn connects(&self) -> u64 {
        self.connects.load(Ordering::Relaxed)
    }
}

async fn connect(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    socket.connect(to).await
}

/// Does something again and again for a time, and gives the longest that it took until it was done once more.
pub async fn longest_outage(lasting: Duration, mut once: impl AsyncFnMut() -> bool) -> Duration {
    const PATIENCE: Duration = Duration::from_secs(1);
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
