//! Every kernel of this machine against sums that are written out.

use kernels::{Aligned, Element, Kernel, LANES, Lanes, Matrix, Simd, Words, Work};
use proptest::prelude::*;

/// A multiplication: windows of some runs, anywhere in an input.
#[derive(Clone, Debug)]
struct Case {
    runs: usize,
    run: usize,
    outputs: usize,
    windows: usize,
    /// Whether windows lie evenly spaced.
    even: bool,
    /// The largest activation, and the largest weight's magnitude.
    most: i32,
    heavy: i32,
    seed: u64,
}

fn cases(
    most: impl Strategy<Value = i32>,
    heavy: impl Strategy<Value = i32>,
) -> impl Strategy<Value = Case> {
    let sizes = (0..5usize, 0..150usize, 1..100usize, 0..40usize);
    (sizes, any::<bool>(), most, heavy, any::<u64>()).prop_map(
        |((runs, run, outputs, windows), even, most, heavy, seed)| Case {
            runs,
            run,
            outputs,
            windows,
            even,
            most,
            heavy,
            seed,
        },
    )
}

/// Numbers that look random, the same each time.
struct Noise(u64);

impl Noise {
    /// From `low` to `high`, often one of them.
    fn within(&mut self, low: i32, high: i32) -> i32 {
        self.0 = self
            .0
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        let random = (self.0 >> 33) as i64;
        match random % 8 {
            0 => low,
            1 => high,
            _ => (i64::from(low) + random % (i64::from(high) - i64::from(low) + 1)) as i32,
        }
    }
}

fn check<T>(
    case: &Case,
    activation: fn(i32) -> T,
    weight: fn(i32) -> T::Weight,
) -> Result<(), TestCaseError>
where
    T: Element + Into<i32>,
{
    let mut noise = Noise(case.seed);
    let lowest = if size_of::<T>() == 1 { 0 } else { -case.most };
    let mut input = Aligned::filled(4000, T::default());
    input
        .iter_mut()
        .for_each(|value| *value = activation(noise.within(lowest, case.most)));
    let starts: Vec<usize> = (0..case.runs)
        .map(|_| noise.within(0, 1000) as usize)
        .collect();
    let stride = noise.within(0, 60) as usize;
    let windows: Vec<usize> = (0..case.windows)
        .map(|index| {
            if case.even {
                index * stride
            } else {
                noise.within(0, 2500) as usize
            }
        })
        .collect();
    let sums: Vec<i32> = (0..case.outputs)
        .map(|_| noise.within(-100_000, 100_000))
        .collect();
    let weights: Vec<i32> = (0..case.runs * case.run * case.outputs)
        .map(|_| noise.within(-case.heavy, (case.heavy).min(63).max(case.heavy - 1)))
        .collect();
    let at = |run, value, output| weights[(output * case.runs + run) * case.run + value];
    for kernel in Kernel::available() {
        let simd = Simd::detect(kernel).expect("an available kernel is there");
        let size = (case.runs, case.run);
        let most = activation(case.most);
        let matrix = Matrix::<T>::new(simd, size, most, &sums, |r, v, o| weight(at(r, v, o)));
        let reads = matrix.reads(starts.iter().copied());
        let mut seen = 0;
        for panel in 0..matrix.panels() {
            let (first, outputs) = matrix.outputs(panel);
            let blocks = matrix.blocks(panel);
            let mut out = vec![Lanes::default(); windows.len() * blocks];
            matrix.multiply(panel, &reads, input.with_spare(), &windows, &mut out);
            for (index, window) in windows.iter().enumerate() {
                for output in 0..outputs {
                    let products = (0..case.runs).flat_map(|run| {
                        let values = &input[window + starts[run]..][..case.run];
                        let values = values.iter().enumerate();
                        values.map(move |(value, &a)| a.into() * at(run, value, first + output))
                    });
                    let expected = products.fold(sums[first + output], i32::wrapping_add);
                    let sum = out[index * blocks + output / LANES].0[output % LANES];
                    prop_assert_eq!(
                        sum,
                        expected,
                        "{}, window {}, output {}",
                        kernel,
                        index,
                        first + output
                    );
                }
            }
            seen += outputs;
        }
        prop_assert_eq!(seen, case.outputs);
    }
    Ok(())
}

proptest! {
    #[test]
    fn sums_of_bytes_are_exact(case in cases(prop_oneof![Just(255), Just(3), 1..=255], prop_oneof![Just(64), Just(2), 1..=64])) {
        check::<u8>(&case, |value| value as u8, |weight| weight as i8)?;
    }

    #[test]
    fn sums_of_words_are_exact(case in cases(prop_oneof![Just(32_767), 1..=4000], prop_oneof![Just(32_767), 1..=900])) {
        check::<i16>(&case, |value| value as i16, |weight| weight as i16)?;
    }
}

/// All that follows sums, on values that saturate, clip and meet ties.
struct After<'a> {
    sums: &'a [Lanes],
    shift: u32,
    factors: &'a [i16; LANES],
    addend: &'a [i16; LANES],
    zero: u8,
    out: &'a mut Vec<([i16; LANES], [u8; LANES])>,
}

impl Work for After<'_> {
    #[inline(always)]
    fn run<W: Words>(self) {
        for sums in self.sums {
            let values = W::requantized(sums, self.shift, self.factors);
            let values = values.plus(W::load(self.addend));
            let (mut words, mut bytes) = ([0; LANES], [0; LANES]);
            values.store(&mut words);
            values
                .scaled(self.factors[0])
                .store_bytes(self.zero, &mut bytes);
            self.out.push((words, bytes));
            values.relu().store(&mut words);
            values.relu().store_bytes(0, &mut bytes);
            self.out.push((words, bytes));
        }
    }
}

proptest! {
    #[test]
    fn what_follows_sums_is_exact(
        shift in 0..32u32,
        sums in prop::collection::vec(prop::array::uniform16(any::<i32>()), 1..20),
        small in prop::collection::vec(prop::array::uniform16(-70_000..70_000i32), 1..20),
        factors in prop::array::uniform16(prop_oneof![Just(0), Just(i16::MAX), Just(1 << 14), 0..=i16::MAX]),
        addend in prop::array::uniform16(any::<i16>()),
        zero: u8,
    ) {
        let sums: Vec<Lanes> = sums.into_iter().chain(small).map(Lanes).collect();
        let scaled = |value: i16, factor: i16| {
            ((i64::from(value) * i64::from(factor) + (1 << 14)) >> 15) as i16
        };
        let mut expected = Vec::new();
        for sums in &sums {
            let values: [i16; LANES] = std::array::from_fn(|lane| {
                let shifted = (sums.0[lane] >> shift).clamp(-32_768, 32_767) as i16;
                scaled(shifted, factors[lane]).saturating_add(addend[lane])
            });
            let byte = |value: i16| i32::from(value).clamp(0, 255) as u8;
            let read = |value| byte(scaled(value, factors[0]).saturating_add(zero.into()));
            expected.push((values, values.map(read)));
            expected.push((values.map(|value| value.max(0)), values.map(byte)));
        }
        for kernel in Kernel::available() {
            let simd = Simd::detect(kernel).expect("an available kernel is there");
            let mut out = Vec::new();
            let (sums, factors, addend) = (&sums[..], &factors, &addend);
            simd.vectorized(After { sums, shift, factors, addend, zero, out: &mut out });
            prop_assert_eq!(&out, &expected, "{}", kernel);
        }
    }
}

#[test]
#[should_panic(expected = "windows lie in the map")]
fn a_window_beyond_the_input_is_caught() {
    let simd = Simd::chosen();
    let matrix = Matrix::<u8>::new(simd, (1, 8), 255, &[0; 16], |_, _, _| 1);
    let reads = matrix.reads([0]);
    let mut sums = [Lanes::default(); 2];
    matrix.multiply(0, &reads, &[0; 64], &[60], &mut sums);
}

#[test]
#[should_panic(expected = "reads of this matrix")]
fn reads_of_a_matrix_with_shorter_runs_are_caught() {
    let simd = Simd::chosen();
    let of_run = |run| Matrix::<u8>::new(simd, (1, run), 255, &[0; 16], |_, _, _| 1);
    let reads = of_run(8).reads([0]);
    let mut sums = [Lanes::default(); 2];
    of_run(256).multiply(0, &reads, &[0; 64], &[0], &mut sums);
}

#[test]
#[should_panic(expected = "weights have 7 bits")]
fn a_weight_of_eight_bits_is_caught() {
    let simd = Simd::detect(Kernel::Scalar).expect("plain code is everywhere");
    Matrix::<u8>::new(simd, (1, 8), 255, &[0; 16], |_, _, _| 100);
}

#[test]
fn available_kernels_have_names_of_their_own() {
    let names: Vec<_> = Kernel::available().into_iter().map(Kernel::name).collect();
    println!("{names:?}");
    assert_eq!(names[0], "scalar");
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    assert!(Kernel::available().contains(&Simd::chosen().kernel()));
}
