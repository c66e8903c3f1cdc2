//! Wrong tokens are answered late once an address has sent many, so that guessing is slow. A right one never waits: it is
//! checked first.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::rate::Rates;

/// Wrong tokens of one address that are answered at once,
const BURST: u32 = 20;
/// and a second after that.
const PER_SECOND: f64 = 1.0;
/// Longest that an answer waits.
const LONGEST: Duration = Duration::from_secs(20);

/// How many wrong tokens have come from where.
#[derive(Debug)]
pub struct Guesses(Rates);

impl Default for Guesses {
    fn default() -> Self {
        Self(Rates::new(PER_SECOND, BURST))
    }
}

impl Guesses {
    /// Waits for as long as the answer to one more wrong token of this address has to.
    pub async fn wrong(&self, client: IpAddr) {
        let wait = self.0.in_line(&client.to_string(), Instant::now(), LONGEST);
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }
}
