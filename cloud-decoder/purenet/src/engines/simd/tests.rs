//! Each instruction set against sums in `f64`.

use super::{Isa, Lanes, PANEL, Windows};

/// Values in -1..1, the same each time.
fn noise(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / u32::MAX as f32 * 2.0 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Compares all tilings of windows of several shapes, of some parts of rows.
fn check(isa: Isa) {
    for (rows, channels, outputs) in [
        (1, 7, 3),
        (1, 256, 32),
        (3, 20, 16),
        (3, 33, 17),
        (5, 8, 32),
    ] {
        let window = rows * rows * channels;
        let weights: Vec<Lanes> = (0..window)
            .map(|i| {
                Lanes(
                    noise(PANEL, i as u32 + 9)
                        .try_into()
                        .expect("a panel of values"),
                )
            })
            .collect();
        for pixels in (1..=20).chain([28, 33, 47]) {
            let row_stride = (pixels + rows - 1) * channels;
            let input = noise(rows * row_stride, pixels as u32);
            let row_len = rows * channels;
            let windows = Windows {
                input: &input,
                rows,
                row_len,
                row_stride,
                pixel_stride: channels,
            };
            let mut sums = vec![Lanes([f32::NAN; PANEL]); pixels];
            isa.multiply(windows, &weights, outputs, &mut sums);
            for (x, sums) in sums.iter().enumerate() {
                for output in 0..outputs {
                    let terms = weights.iter().enumerate().map(|(i, lanes)| {
                        let value = input[i / row_len * row_stride + x * channels + i % row_len];
                        f64::from(value) * f64::from(lanes.0[output])
                    });
                    let (expected, actual) = (terms.sum::<f64>(), f64::from(sums.0[output]));
                    assert!(
                        (actual - expected).abs() < 1e-5 * (window as f64).sqrt(),
                        "{isa:?}, {rows} rows of {row_len}, pixel {x} of {pixels}, \
                         output {output}: {actual}, not {expected}",
                    );
                }
            }
        }
    }
}

/// One test for each instruction set; a machine without it has nothing to run.
macro_rules! test_each {
    ($($name:ident: $isa:expr, $available:expr;)*) => {$(
        #[test]
        fn $name() {
            if $available {
                check($isa);
            }
        }
    )*};
}

test_each! {
    portable_matches_f64: Isa::Portable, true;
}

#[cfg(target_arch = "x86_64")]
test_each! {
    avx2_matches_f64: Isa::Avx2, is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    avx512_matches_f64: Isa::Avx512, is_x86_feature_detected!("avx512f");
}

#[cfg(target_arch = "aarch64")]
test_each! {
    neon_matches_f64: Isa::Neon, std::arch::is_aarch64_feature_detected!("neon");
}

#[test]
#[should_panic(expected = "self.input.len()")]
fn windows_that_leave_the_input_are_caught() {
    let windows = Windows {
        input: &[0.0; 8],
        rows: 3,
        row_len: 3,
        row_stride: 3,
        pixel_stride: 1,
    };
    let mut sums = [Lanes([0.0; PANEL])];
    Isa::best().multiply(windows, &[Lanes([0.0; PANEL]); 9], 1, &mut sums);
}
