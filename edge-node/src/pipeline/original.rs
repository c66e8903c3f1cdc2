//! Originals, which travel with some frames so that the cloud can measure its reconstructions.
//!
//! A JPEG or a plain WebP travels as the camera encoded it, without metadata, and with a checksum of the pixels that
//! were decoded here: a cloud that decodes other pixels measures nothing. Every other file travels as lossless WebP or
//! PNG.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use media::{ImageError, Picture, encode::lossless, original::without_metadata};
use patchwire_proto::v1::Original;
use uuid::Uuid;

/// The original of a picture that was decoded from `file`.
///
/// # Errors
/// None for a picture that [`media::decode`] returned.
pub(super) fn of(picture: &Picture, file: &[u8]) -> Result<Original, ImageError> {
    let (own, rgb_crc32c) = match without_metadata(picture, file) {
        Some(own) => (own, Some(crc32c::crc32c(&picture.rgb))),
        None => (lossless(&picture.rgb, picture.width, picture.height)?, None),
    };
    let (media_type, data) = own;
    Ok(Original {
        media_type: media_type.to_owned(),
        data: data.into(),
        rgb_crc32c,
    })
}

/// Whether a frame belongs to the share whose originals travel. The last 32 random bits of its id decide, so that the
/// choice can be repeated from the id alone.
pub(super) fn is_sampled(frame_id: Uuid, share: f64) -> bool {
    let random = frame_id.as_u128() as u32;
    f64::from(random) < share * 2f64.powi(32)
}

/// Limits the bytes of originals within an hour.
pub(super) struct Budget {
    per_hour: Option<u64>,
    /// Minutes since `began`, and the bytes of each; of the last hour.
    spent: Mutex<VecDeque<(u64, u64)>>,
    began: Instant,
}

impl Budget {
    /// No limit when `per_hour` is `None`.
    pub(super) fn new(per_hour: Option<u64>) -> Self {
        Self {
            per_hour,
            spent: Mutex::default(),
            began: Instant::now(),
        }
    }

    /// Takes bytes from the budget, if it has them.
    pub(super) fn spend(&self, bytes: u64) -> bool {
        self.spend_at(self.began.elapsed(), bytes)
    }

    fn spend_at(&self, now: Duration, bytes: u64) -> bool {
        let Some(per_hour) = self.per_hour else {
            return true;
        };
        let minute = now.as_secs() / 60;
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        while spent.front().is_some_and(|&(at, _)| at + 60 < minute) {
            spent.pop_front();
        }
        let sum: u64 = spent.iter().map(|&(_, bytes)| bytes).sum();
        if sum.saturating_add(bytes) > per_hour {
            return false;
        }
        match spent.back_mut() {
            Some((at, sum)) if *at == minute => *sum += bytes,
            _ => spent.push_back((minute, bytes)),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_originals_is_kept() {
        let ids: Vec<_> = (0..10_000).map(|_| Uuid::now_v7()).collect();
        let count = |share| ids.iter().filter(|&&id| is_sampled(id, share)).count();
        assert_eq!((count(0.0), count(1.0)), (0, 10_000));
        assert!((2_700..3_300).contains(&count(0.3)), "{}", count(0.3));
    }

    #[test]
    fn a_budget_holds_over_any_hour() {
        let budget = Budget::new(Some(1000));
        let spend = |minutes: u64, bytes| budget.spend_at(Duration::from_secs(minutes * 60), bytes);
        assert!(spend(0, 600) && spend(30, 400));
        assert!(!spend(30, 1) && !spend(60, 1));
        assert!(spend(61, 600), "the first minute's are over an hour ago");
        assert!(!spend(90, 1) && spend(92, 400));
        assert!(Budget::new(None).spend(u64::MAX));
    }
}
