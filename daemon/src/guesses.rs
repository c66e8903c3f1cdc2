//! Delays the answers to wrong tokens once an address has sent many, so that guessing is slow. A right token is never
//! delayed: it is checked first.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::rate::Rates;

/// Wrong tokens of one address that are answered at once.
const BURST: u32 = 20;
/// Wrong tokens per second that are answered after that.
const PER_SECOND: f64 = 1.0;
/// Longest delay of an answer.
const LONGEST: Duration = Duration::from_secs(20);

/// Counts wrong tokens by address.
#[derive(Debug)]
pub struct Guesses(Rates);

impl Default for Guesses {
    fn default() -> Self {
        Self(Rates::new(PER_SECOND, BURST))
    }
}

impl Guesses {
    /// Waits for the delay of the answer to one more wrong token of this address.
    pub async fn wrong(&self, client: IpAddr) {
        let wait = self.0.reserve(&client.to_string(), Instant::now(), LONGEST);
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }
}
