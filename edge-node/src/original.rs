//! Originals, which travel with some frames so that the cloud can measure what it rebuilds.
//!
//! A JPEG or a plain WebP travels as the camera encoded it, without metadata, and with a checksum of its pixels as they were
//! decoded here: a cloud that decodes others measures nothing. Everything else travels as lossless WebP. So does the camera's
//! own file to a cloud of before, which does not take it.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use media::{ImageError, Picture, encode, original::without_metadata};
use patchwire_proto::v1::Original;

/// The original of a frame that came as these bytes.
///
/// # Errors
/// None for a picture that [`media::decode`] returned.
pub fn attach(frame: &Picture, body: &[u8]) -> Result<Original, ImageError> {
    let Some((media_type, data)) = without_metadata(frame, body) else {
        return lossless(frame);
    };
    Ok(Original {
        media_type: media_type.to_owned(),
        data: data.into(),
        rgb_crc32c: Some(crc32c::crc32c(&frame.rgb)),
    })
}

fn lossless(picture: &Picture) -> Result<Original, ImageError> {
    let (media_type, data) = encode::lossless(&picture.rgb, picture.width, picture.height)?;
    Ok(Original {
        media_type: media_type.to_owned(),
        data: data.into(),
        rgb_crc32c: None,
    })
}

/// Bytes of originals that may travel within an hour.
pub(crate) struct Budget {
    per_hour: Option<u64>,
    /// By minutes since `began`, those of the last hour.
    spent: Mutex<VecDeque<(u64, u64)>>,
    began: Instant,
}

impl Budget {
    /// Any number when `per_hour` is `None`.
    pub(crate) fn new(per_hour: Option<u64>) -> Self {
        Self {
            per_hour,
            spent: Mutex::default(),
            began: Instant::now(),
        }
    }

    /// Takes bytes from the budget, if it has them.
    pub(crate) fn spend(&self, bytes: u64) -> bool {
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
