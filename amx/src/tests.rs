//! The instructions against plain code, and plain code against the definition.

use half::bf16;

use crate::{Amx, COLUMNS, Element, ROWS, Sums, Tile, Weights, Windows};

/// Numbers without a pattern.
fn noise(seed: u64) -> impl FnMut() -> u32 {
    let mut state = seed;
    move || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 32) as u32
    }
}

/// Runs, values of a run, columns, values from window to window.
const SHAPES: [(usize, usize, usize, usize); 8] = [
    (1, 1, 1, 1),
    (1, 64, 32, 64),
    (3, 33, 17, 11),
    (3, 192, 32, 64),
    (5, 90, 18, 18),
    (1, 3072, 32, 3072),
    (32, 96, 16, 96),
    (2, 200, 31, 0),
];

/// Checks products of random values for several shapes, numbers of windows and tilings: `expected` is what a window's
/// sum is.
fn check<T: Element>(
    amx: Amx,
    value: fn(u32) -> T,
    weight: fn(u32) -> T::Weight,
    expected: impl Fn(&[(T, T::Weight)]) -> T::Sum,
) where
    T::Sum: PartialEq + std::fmt::Debug,
{
    for (runs, run, columns, stride) in SHAPES {
        let mut random = noise(runs as u64 * 1000 + run as u64);
        let table: Vec<_> = (0..runs * run * columns)
            .map(|_| weight(random()))
            .collect();
        let of = |index, value, column| table[(index * run + value) * columns + column];
        let weights = Weights::<T>::new(runs, run, columns, of);
        for windows in [1, 5, 16, 17, 31, 32, 48, 77, 300] {
            let rows = windows.min(ROWS);
            let values = (windows - 1) * stride + weights.reach();
            let values: Vec<_> = (0..runs)
                .map(|_| (0..values).map(|_| value(random())).collect::<Vec<_>>())
                .collect();
            let values: Vec<_> = values.iter().map(Vec::as_slice).collect();
            let tiles: Vec<_> = (0..windows)
                .step_by(rows)
                .map(|first| first.min(windows - rows))
                .map(|first| Tile {
                    at: first * stride,
                    first,
                })
                .collect();
            let mut sums = vec![Sums::default(); windows];
            let lie = Windows {
                runs: &values,
                stride,
                rows,
            };
            amx.multiply(&weights, lie, &tiles, &mut sums);
            // Every window would take minutes in an emulator of the processor.
            for window in (0..windows).filter(|window| window % 7 == 0 || windows - window < 3) {
                for column in 0..columns {
                    let mut terms = Vec::new();
                    for (index, values) in values.iter().enumerate() {
                        for value in 0..weights.reach() {
                            let weight = if value < run {
                                of(index, value, column)
                            } else {
                                weight(0)
                            };
                            terms.push((values[window * stride + value], weight));
                        }
                    }
                    assert_eq!(
                        sums[window].0[column],
                        expected(&terms),
                        "window {window} of {windows}, column {column} of {runs} runs of {run}, {stride} apart"
                    );
                }
            }
            assert_eq!(
                sums[0].0[columns..],
                [T::Sum::default(); COLUMNS][columns..]
            );
        }
    }
}

fn check_integers(amx: Amx) {
    // All values, so that nothing saturates and signs are right.
    check::<u8>(
        amx,
        |r| r as u8,
        |r| (r >> 3) as i8,
        |terms| {
            terms
                .iter()
                .map(|&(value, weight)| i32::from(value) * i32::from(weight))
                .sum()
        },
    );
}

fn check_bf16(amx: Amx) {
    let real = |r: u32| bf16::from_f32(r as i32 as f32 / (1u32 << 31) as f32);
    // As Intel defines the instruction: products of 16 pairs, even and odd ones apart.
    check::<bf16>(amx, real, real, |terms| {
        terms.chunks(32).fold(0.0, |sum, terms| {
            let part = |skip| {
                let terms = terms.iter().skip(skip).step_by(2);
                terms.fold(0.0f32, |sum, (value, weight)| {
                    value.to_f32().mul_add(weight.to_f32(), sum)
                })
            };
            sum + (part(0) + part(1))
        })
    });
}

#[test]
fn plain_code_computes_as_defined() {
    check_integers(Amx::emulated());
    check_bf16(Amx::emulated());
    assert_eq!(Amx::emulated().peak::<u8>(), None);
}

#[test]
fn the_machine_computes_as_defined() {
    // Nothing to run where there are no such instructions.
    if let Some(amx) = Amx::detect() {
        check_integers(amx);
        check_bf16(amx);
        println!("checked on this machine");
    }
}

#[test]
#[should_panic(expected = "windows lie in their runs")]
fn windows_that_leave_their_run_are_caught() {
    let weights = Weights::<u8>::new(1, 1, 1, |_, _, _| 1);
    let windows = Windows {
        runs: &[&[0; 66]],
        stride: 1,
        rows: 4,
    };
    let tile = Tile { at: 0, first: 0 };
    Amx::emulated().multiply(&weights, windows, &[tile], &mut [Sums::default(); 4]);
}

#[test]
#[should_panic(expected = "each window has its sums")]
fn sums_that_are_not_there_are_caught() {
    let weights = Weights::<u8>::new(1, 1, 1, |_, _, _| 1);
    let windows = Windows {
        runs: &[&[0; 80]],
        stride: 1,
        rows: 16,
    };
    let tile = Tile { at: 0, first: 1 };
    Amx::emulated().multiply(&weights, windows, &[tile], &mut [Sums::default(); 16]);
}
