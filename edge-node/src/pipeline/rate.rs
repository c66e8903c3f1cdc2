//! Bits per patch: fewer as the spool fills, so that frames get coarser before any is lost.
//!
//! The latents are progressive: a prefix of each patch's bits is a coarser frame. A frame gets all bits while the spool
//! is less than half full. The other half is divided equally among the steps: with three steps, 192, 128 and 64 bits
//! begin at 1/2, 5/8 and 3/4. Frames that are in the spool already stay as they are.

/// Share of the spool in use at which the first step begins.
const SHED_FROM: f64 = 0.5;

/// A pinned rate that is neither a step nor the program's own.
#[derive(Debug, thiserror::Error)]
#[error("rate.bits is {pinned}, allowed are {allowed} with this program")]
pub(super) struct RateError {
    pinned: u32,
    allowed: String,
}

/// The policy for one program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    /// Descending from all bits of the program; a single step where the rate is pinned.
    steps: Vec<u32>,
}

impl Rate {
    /// The policy for a program of `whole` bits per patch: always `pinned` if given, else the `steps`, ascending, as
    /// the spool fills. Steps that are not below `whole` are left out.
    ///
    /// # Errors
    /// [`RateError`].
    pub(super) fn new(pinned: Option<u32>, steps: &[u32], whole: u32) -> Result<Self, RateError> {
        let lower = steps.iter().copied().filter(|&bits| bits < whole);
        let mut steps: Vec<u32> = lower.chain([whole]).collect();
        if let Some(pinned) = pinned {
            if !steps.contains(&pinned) {
                let allowed: Vec<_> = steps.iter().map(u32::to_string).collect();
                let allowed = allowed.join(", ");
                return Err(RateError { pinned, allowed });
            }
            steps = vec![pinned];
        }
        steps.reverse();
        Ok(Self { steps })
    }

    /// Bits per patch of a new frame when the share `fill` of the spool, 0 to 1, is in use.
    pub(super) fn bits(&self, fill: f64) -> u32 {
        let part = (1.0 - SHED_FROM) / self.steps.len() as f64;
        let down = if fill < SHED_FROM {
            0
        } else {
            1 + ((fill - SHED_FROM) / part) as usize
        };
        self.steps[down.min(self.steps.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(pinned: Option<u32>, whole: u32) -> Result<Rate, RateError> {
        Rate::new(pinned, &[64, 128, 192], whole)
    }

    #[test]
    fn bits_fall_in_even_steps_from_half_full() {
        let rate = rate(None, 256).unwrap();
        let fills = [0.0, 0.49, 0.5, 0.62, 0.63, 0.74, 0.75, 0.99, 1.0, 7.0];
        let expected = [256, 256, 192, 192, 128, 128, 64, 64, 64, 64];
        assert_eq!(fills.map(|fill| rate.bits(fill)), expected);
    }

    #[test]
    fn a_pinned_rate_does_not_change() {
        let rate = rate(Some(128), 256).unwrap();
        assert_eq!([0.0, 0.6, 1.0].map(|fill| rate.bits(fill)), [128; 3]);
    }

    #[test]
    fn only_steps_below_the_program_s_bits_are_used() {
        let small = rate(None, 128).unwrap();
        assert_eq!((small.bits(0.0), small.bits(1.0)), (128, 64));
        let tiny = rate(None, 64).unwrap();
        assert_eq!([0.0, 1.0].map(|fill| tiny.bits(fill)), [64; 2]);
        let refused = rate(Some(192), 128).unwrap_err().to_string();
        assert_eq!(
            refused,
            "rate.bits is 192, allowed are 64, 128 with this program"
        );
    }
}
