//! The link between the two services: a TCP proxy with weather.

use std::{net::SocketAddr, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    io::{self, AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::sleep,
};

/// Most bytes passed on at once.
const PIECE: usize = 16 << 10;

/// What the link does to the bytes on it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Weather {
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
}

/// A proxy that outlives the service behind it.
pub(crate) struct Proxy {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    weather: watch::Sender<Weather>,
    target: watch::Sender<Option<SocketAddr>>,
}

impl Proxy {
    /// Listens on a free port, without a target yet.
    pub(crate) async fn start(seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (weather, of_weather) = watch::channel(Weather::Clear);
        let (target, of_target) = watch::channel(None);
        tokio::spawn(async move {
            let mut seeds = StdRng::seed_from_u64(seed);
            loop {
                // A failed accept, for want of descriptors, passes.
                let Ok((near, _)) = listener.accept().await else {
                    sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let (target, weather) = (*of_target.borrow(), of_weather.clone());
                let seeds = [seeds.random(), seeds.random()];
                tokio::spawn(async move {
                    // However a connection ends, the services see to it.
                    connect(near, target, weather, seeds).await.ok();
                });
            }
        });
        Ok(Self {
            address,
            weather,
            target,
        })
    }

    pub(crate) fn set_target(&self, target: Option<SocketAddr>) {
        self.target.send_replace(target);
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

async fn connect(
    near: TcpStream,
    target: Option<SocketAddr>,
    weather: watch::Receiver<Weather>,
    seeds: [u64; 2],
) -> io::Result<()> {
    let Some(target) = target else { return Ok(()) };
    if *weather.borrow() == Weather::Cut {
        return Ok(());
    }
    let far = TcpStream::connect(target).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    tokio::select! {
        result = pump(near_in, far_out, weather.clone(), seeds[0]) => result,
        result = pump(far_in, near_out, weather, seeds[1]) => result,
    }
}

/// Passes bytes on until an end closes or the link is cut.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    seed: u64,
) -> io::Result<()> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut piece = vec![0; PIECE];
    loop {
        let most = match *weather.borrow_and_update() {
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
