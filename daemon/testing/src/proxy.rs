//! The link between two services: a TCP proxy with weather, which gives each connection to the next of those behind it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    io::{self, AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
    time::sleep,
};

/// Most bytes passed on at once.
const PIECE: usize = 16 << 10;

/// The state of the link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weather {
    /// Everything comes through at once.
    Clear,
    /// Connections break, new ones too.
    Cut,
    /// Connections stand, nothing comes through until the weather changes.
    Stall,
    /// Each piece comes later by this.
    Delay(Duration),
    /// Bytes a second in each direction.
    Throttle(u64),
    /// One byte in so many, on average, has a bit flipped.
    Corrupt(u64),
    /// Bytes are lost without an error, and the connection breaks when the weather changes.
    Swallow,
}

/// A proxy that outlives the services behind it.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    weather: watch::Sender<Weather>,
    targets: watch::Sender<Vec<SocketAddr>>,
    swallowed: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port, without a target yet.
    ///
    /// # Errors
    /// There is none.
    pub async fn start(seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (weather, of_weather) = watch::channel(Weather::Clear);
        let (targets, of_targets) = watch::channel(Vec::new());
        let swallowed = Arc::default();
        let link = Link {
            weather: of_weather,
            swallowed: Arc::clone(&swallowed),
        };
        let task = tokio::spawn(async move {
            let mut seeds = StdRng::seed_from_u64(seed);
            let mut turn = 0;
            loop {
                // A failed accept, for want of descriptors, passes.
                let Ok((near, _)) = listener.accept().await else {
                    sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let mut targets = of_targets.borrow().clone();
                turn += 1;
                let first = turn % targets.len().max(1);
                targets.rotate_left(first);
                let (link, seeds) = (link.clone(), [seeds.random(), seeds.random()]);
                tokio::spawn(async move {
                    // However a connection ends, the services see to it.
                    link.connect(near, &targets, seeds).await.ok();
                });
            }
        });
        Ok(Self {
            address,
            weather,
            targets,
            swallowed,
            task,
        })
    }

    /// Where new connections go, in turn; to the next one where one refuses.
    pub fn set_targets(&self, targets: Vec<SocketAddr>) {
        self.targets.send_replace(targets);
    }

    /// Changes the weather for all connections.
    pub fn set_weather(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Bytes that were swallowed so far.
    pub fn swallowed(&self) -> u64 {
        self.swallowed.load(Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Link {
    weather: watch::Receiver<Weather>,
    swallowed: Arc<AtomicU64>,
}

impl Link {
    async fn connect(
        self,
        near: TcpStream,
        targets: &[SocketAddr],
        seeds: [u64; 2],
    ) -> io::Result<()> {
        if *self.weather.borrow() == Weather::Cut || targets.is_empty() {
            return Ok(());
        }
        // Tries them in order.
        let far = TcpStream::connect(targets).await?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let (near_in, near_out) = near.into_split();
        let (far_in, far_out) = far.into_split();
        tokio::select! {
            result = self.clone().pump(near_in, far_out, seeds[0]) => result,
            result = self.pump(far_in, near_out, seeds[1]) => result,
        }
    }

    /// Passes bytes on until an end closes or the link is cut.
    async fn pump(
        self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        seed: u64,
    ) -> io::Result<()> {
        let Self {
            mut weather,
            swallowed,
        } = self;
        let mut swallows = false;
        let mut rng = StdRng::seed_from_u64(seed);
        let mut piece = vec![0; PIECE];
        loop {
            let now = *weather.borrow_and_update();
            if swallows && now != Weather::Swallow {
                return Ok(());
            }
            let most = match now {
                Weather::Throttle(rate) => (rate as usize / 10).clamp(1, PIECE),
                _ => PIECE,
            };
            let length = tokio::select! {
                length = from.read(&mut piece[..most]) => length?,
                changed = weather.changed() => {
                    if changed.is_err() || *weather.borrow() == Weather::Cut {
                        return Ok(());
                    }
                    continue;
                }
            };
            if length == 0 {
                return Ok(());
            }
            let now = *weather.borrow();
            match now {
                Weather::Clear => {}
                Weather::Cut => return Ok(()),
                Weather::Swallow => {
                    swallows = true;
                    swallowed.fetch_add(length as u64, Relaxed);
                    continue;
                }
                Weather::Stall => {
                    let lifted = weather.wait_for(|weather| *weather != Weather::Stall).await;
                    if lifted.is_ok_and(|weather| *weather == Weather::Cut) {
                        return Ok(());
                    }
                }
                Weather::Delay(delay) => sleep(delay).await,
                Weather::Throttle(rate) => {
                    sleep(Duration::from_secs_f64(length as f64 / rate as f64)).await;
                }
                Weather::Corrupt(one_in) => {
                    for byte in &mut piece[..length] {
                        if rng.random_range(0..one_in) == 0 {
                            *byte ^= 1 << rng.random_range(0..8);
                        }
                    }
                }
            }
            to.write_all(&piece[..length]).await?;
        }
    }
}
