//! Bits a patch: fewer as the spool fills, so that rate is shed before frames.
//!
//! The latents are progressive: a prefix of each patch's bits is a coarser frame. A frame gets all bits while the
//! spool is less than half full; from there on each further step down comes after an equal part of the other half, so that
//! with three steps 192, 128 and 64 bits begin at 1/2, 5/8 and 3/4. What is in the spool stays as it is.

use anyhow::ensure;

/// How full the spool is when the first bits are shed.
const SHED_FROM: f64 = 0.5;

/// The policy for one program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// From all bits of the program down; one alone where the rate is pinned.
    steps: Vec<u32>,
}

impl Rate {
    /// The policy for a program of `whole` bits a patch: always `pinned` if given, else the lower `steps`, ascending, as
    /// the spool fills. Steps that are not below `whole` are left out.
    ///
    /// # Errors
    /// A pinned rate that is neither a step nor the program's own.
    pub(crate) fn new(pinned: Option<u32>, steps: &[u32], whole: u32) -> anyhow::Result<Self> {
        let lower = steps.iter().copied().filter(|&bits| bits < whole);
        let mut steps: Vec<u32> = lower.chain([whole]).collect();
        if let Some(pinned) = pinned {
            let allowed: Vec<_> = steps.iter().map(u32::to_string).collect();
            ensure!(
                steps.contains(&pinned),
                "rate.bits is {pinned}, allowed are {} with this program",
                allowed.join(", ")
            );
            return Ok(Self {
                steps: vec![pinned],
            });
        }
        steps.reverse();
        Ok(Self { steps })
    }

    /// Bits a patch of a new frame when `fill` of the spool, 0 to 1, is taken.
    pub(crate) fn bits(&self, fill: f64) -> u32 {
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

    fn rate(pinned: Option<u32>, whole: u32) -> anyhow::Result<Rate> {
        Rate::new(pinned, &[64, 128, 192], whole)
    }

    #[test]
    fn rate_is_shed_in_even_steps_from_half_full() {
        let rate = rate(None, 256).unwrap();
        let fills = [0.0, 0.49, 0.5, 0.62, 0.63, 0.74, 0.75, 0.99, 1.0, 7.0];
        let expected = [256, 256, 192, 192, 128, 128, 64, 64, 64, 64];
        assert_eq!(fills.map(|fill| rate.bits(fill)), expected);
    }

    #[test]
    fn a_pinned_rate_stays() {
        let rate = rate(Some(128), 256).unwrap();
        assert_eq!([0.0, 0.6, 1.0].map(|fill| rate.bits(fill)), [128; 3]);
    }

    #[test]
    fn steps_below_the_program_count_alone() {
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
