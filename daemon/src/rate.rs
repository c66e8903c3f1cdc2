//! Token buckets by key: an average number of events per second, and bursts.
//!
//! Memory is bounded: a key whose bucket is full again is forgotten. Limits are kept for up to [`MOST`] keys; any
//! beyond that share one bucket.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Most keys with a bucket of their own.
pub const MOST: usize = 4096;

/// Buckets of one rate.
#[derive(Debug)]
pub struct Rates {
    per_second: f64,
    burst: f64,
    buckets: Mutex<Buckets>,
}

#[derive(Debug, Default)]
struct Buckets {
    own: HashMap<String, Bucket>,
    shared: Option<Bucket>,
    /// When full buckets were removed last, which takes a while.
    swept: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Rates {
    /// `per_second` tokens are added to each bucket, which holds at most `burst`; both are above 0.
    pub fn new(per_second: f64, burst: u32) -> Self {
        Self {
            per_second,
            burst: f64::from(burst).max(1.0),
            buckets: Mutex::default(),
        }
    }

    /// Takes a token from the key's bucket.
    ///
    /// # Errors
    /// The bucket is empty; the time until it has a token.
    pub fn take(&self, key: &str, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = self.bucket(&mut buckets, key, now);
        bucket.tokens = self.level(bucket, now);
        bucket.at = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        let wait = (1.0 - bucket.tokens) / self.per_second;
        Err(Duration::from_secs_f64(wait))
    }

    /// Takes a token from the key's bucket, even one that is still to be added, and returns the time until then, at
    /// most
    /// `longest`.
    pub fn reserve(&self, key: &str, now: Instant, longest: Duration) -> Duration {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = self.bucket(&mut buckets, key, now);
        let most = longest.as_secs_f64() * self.per_second;
        bucket.tokens = (self.level(bucket, now) - 1.0).max(-most);
        bucket.at = now;
        Duration::from_secs_f64((-bucket.tokens).max(0.0) / self.per_second)
    }

    fn bucket<'a>(&self, buckets: &'a mut Buckets, key: &str, now: Instant) -> &'a mut Bucket {
        let full = Bucket {
            tokens: self.burst,
            at: now,
        };
        let period = Duration::from_secs(1);
        let due = buckets
            .swept
            .is_none_or(|at| now.duration_since(at) >= period);
        if buckets.own.len() >= MOST && due && !buckets.own.contains_key(key) {
            buckets.swept = Some(now);
            let busy = |bucket: &Bucket| self.level(bucket, now) < self.burst;
            buckets.own.retain(|_, bucket| busy(bucket));
        }
        if buckets.own.len() >= MOST && !buckets.own.contains_key(key) {
            return buckets.shared.get_or_insert(full);
        }
        buckets.own.entry(key.to_owned()).or_insert(full)
    }

    fn level(&self, bucket: &Bucket, now: Instant) -> f64 {
        let added = now.saturating_duration_since(bucket.at).as_secs_f64() * self.per_second;
        (bucket.tokens + added).min(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let rates = Rates::new(2.0, 3);
        let start = Instant::now();
        let passed = |at| (0..10).filter(|_| rates.take("gate", at).is_ok()).count();
        assert_eq!(passed(start), 3);
        let wait = rates.take("gate", start).expect_err("empty");
        assert_eq!(wait, SECOND / 2);
        assert_eq!(passed(start + wait), 1);
        assert_eq!(passed(start + 11 * SECOND), 3, "no more than the burst");
        assert!(rates.take("yard", start).is_ok(), "another has its own");
    }

    #[test]
    fn reservations_wait_in_order_and_no_longer_than_allowed() {
        let rates = Rates::new(2.0, 2);
        let start = Instant::now();
        let wait = |at| rates.reserve("gate", at, 2 * SECOND);
        let waits: Vec<_> = (0..8).map(|_| wait(start).as_millis()).collect();
        assert_eq!(waits, [0, 0, 500, 1000, 1500, 2000, 2000, 2000]);
        assert_eq!(wait(start + SECOND), 3 * SECOND / 2);
        assert_eq!(wait(start + 9 * SECOND), Duration::ZERO);
        assert!(rates.reserve("yard", start, SECOND).is_zero(), "another");
    }

    #[test]
    fn a_flood_of_names_takes_no_more_memory_and_no_more_tokens() {
        let rates = Rates::new(1.0, 1);
        let start = Instant::now();
        let held = || rates.buckets.lock().expect("lock").own.len();
        let passed = |names: std::ops::Range<usize>, at| {
            names
                .filter(|name| rates.take(&name.to_string(), at).is_ok())
                .count()
        };
        // One more than have a bucket of their own: the shared one.
        assert_eq!(passed(0..3 * MOST, start), MOST + 1);
        assert_eq!(held(), MOST);
        assert!(rates.take("0", start).is_err(), "known names keep theirs");
        // Quiet keys are forgotten, without an effect.
        assert_eq!(passed(9_000_000..9_000_001, start + 2 * SECOND), 1);
        assert_eq!(held(), 1);
        assert!(rates.take("0", start + 2 * SECOND).is_ok());
    }
}
