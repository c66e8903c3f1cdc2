//! The product, checked before it is computed.

use std::time::Instant;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use crate::machine;
use crate::operands::{Element, ROWS, Sums, Tile, Weights, Windows};
use crate::plain;

/// Runs of which [`Amx::peak`] takes the fastest, and their length: some milliseconds.
const PEAK_RUNS: u32 = 20;
const PEAK_ROUNDS: u64 = 20_000;

/// A way to multiply.
#[derive(Clone, Copy, Debug)]
pub struct Amx(Kind);

#[derive(Clone, Copy, Debug)]
enum Kind {
    Plain,
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    Machine(machine::Present),
}

impl Amx {
    /// The instructions of this machine, if it has them for both kinds of elements and the system grants their
    /// registers.
    pub fn detect() -> Option<Self> {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        return machine::Present::detect().map(|present| Self(Kind::Machine(present)));
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        None
    }

    /// Plain code that computes the same on any machine, for tests. Products in bf16 are those of the instructions to
    /// the bit, but for subnormal numbers, which they take for zero.
    pub fn emulated() -> Self {
        Self(Kind::Plain)
    }

    /// Writes the products of all windows and weights. Each window's sums are its own, so that tiles may overlap.
    ///
    /// # Panics
    /// When a window leaves the values of its runs, its sums leave `sums`, or windows and weights differ in their runs.
    pub fn multiply<T: Element>(
        self,
        weights: &Weights<T>,
        windows: Windows<'_, T>,
        tiles: &[Tile],
        sums: &mut [Sums<T::Sum>],
    ) {
        let Windows { runs, stride, rows } = windows;
        assert_eq!(runs.len(), weights.runs, "as many runs as weights have");
        assert!((1..=ROWS).contains(&rows), "1 to 16 windows a tile");
        let shortest = runs.iter().map(|run| run.len()).min().unwrap_or(0);
        let reach = ((rows - 1).checked_mul(stride))
            .and_then(|last| last.checked_add(weights.reach()))
            .expect("a tile lies in memory");
        for tile in tiles {
            let fits = reach <= shortest && tile.at <= shortest - reach;
            assert!(fits, "windows lie in their runs");
            let fits = rows <= sums.len() && tile.first <= sums.len() - rows;
            assert!(fits, "each window has its sums");
        }
        match self.0 {
            Kind::Plain => plain::multiply(weights, windows, tiles, sums),
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Kind::Machine(present) => present.multiply(weights, windows, tiles, sums),
        }
    }

    /// The most that one core could do: measured operations per second on registers alone, two per multiply-accumulate.
    /// None if emulated.
    pub fn peak<T: Element>(self) -> Option<f64> {
        let measured = (0..PEAK_RUNS).filter_map(|_| {
            let started = Instant::now();
            let operations = self.spin::<T>(PEAK_ROUNDS)?;
            Some(operations as f64 / started.elapsed().as_secs_f64())
        });
        measured.max_by(f64::total_cmp)
    }

    #[cfg_attr(
        not(all(target_arch = "x86_64", target_os = "linux")),
        expect(unused_variables, reason = "no machine to count rounds")
    )]
    fn spin<T: Element>(self, rounds: u64) -> Option<u64> {
        match self.0 {
            Kind::Plain => None,
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Kind::Machine(present) => Some(present.spin::<T>(rounds)),
        }
    }
}
