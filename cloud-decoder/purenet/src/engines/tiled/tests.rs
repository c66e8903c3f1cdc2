//! Layers on tiles against their definition.

use super::*;
use crate::noise::noise;
use crate::shape::Shape;

/// A map of one row of patches of 4 x 4 positions; positions are the same in all of them, however wide.
fn map(channels: usize, columns: usize, seed: u64) -> Rows<bf16> {
    let mut rows = Rows::new(Shape { side: 4, channels }, 1, columns, 4);
    for (y, row) in rows.append(4).into_iter().enumerate() {
        let values = noise(row.len(), seed + ((y as u64) << 32));
        for (value, from) in row.iter_mut().zip(values) {
            *value = Value::from_f32(from);
        }
    }
    rows
}

/// Shapes with whole and broken panels, and runs that end within a tile.
const SHAPES: [(usize, usize, usize); 6] = [
    (8, 8, 3),
    (3, 18, 5),
    (48, 64, 3),
    (96, 33, 1),
    (64, 32, 3),
    (1, 1, 3),
];

fn tiles() -> Tiles {
    let (amx, isa) = (Amx::detect().unwrap_or(Amx::emulated()), Isa::best());
    Tiles { amx, isa }
}

#[test]
fn layers_are_sums_of_rounded_values() {
    for (inputs, outputs, kernel) in SHAPES {
        let round = |value: f32| f64::from(Value::to_f32(<bf16 as Value>::from_f32(value)));
        let (weights, bias) = (
            noise(inputs * outputs * kernel * kernel, 3),
            noise(outputs, 5),
        );
        let layer = Layer::new(&weights, bias.clone(), inputs, kernel);
        // Less than a tile, an overlapping one, strips.
        for columns in [1, 2, 5, 35] {
            let (input, addend) = (map(inputs, columns, 7), map(outputs, columns, 11));
            for finish in [Finish::Store, Finish::Relu, Finish::Add(&addend)] {
                let mut output = map(outputs, columns, 13);
                output.restart();
                layer.convolve(tiles(), &input, 0, output.append(4), finish);
                for (y, x, channel) in (0..4).flat_map(|y| {
                    let places = (0..4 * columns).filter(|x| x % 13 < 2 || x + 2 > 4 * columns);
                    places.flat_map(move |x| (0..outputs).map(move |channel| (y, x, channel)))
                }) {
                    let mut sum = f64::from(bias[channel]);
                    for (i, weight) in (0..).zip(
                        &weights[channel * inputs * kernel * kernel..][..inputs * kernel * kernel],
                    ) {
                        let (input_channel, dy, dx) =
                            (i / (kernel * kernel), i / kernel % kernel, i % kernel);
                        let line = input.line(y + MARGIN + dy - kernel / 2);
                        let value = line[(x + MARGIN + dx - kernel / 2) * inputs + input_channel];
                        sum += round(*weight) * f64::from(Value::to_f32(value));
                    }
                    let expected = match finish {
                        Finish::Store => sum,
                        Finish::Relu => sum.max(0.0),
                        Finish::Add(rows) => {
                            sum + f64::from(Value::to_f32(rows.row(y)[x * outputs + channel]))
                        }
                    };
                    let actual = f64::from(Value::to_f32(output.row(y)[x * outputs + channel]));
                    // Half of a last digit, and what sums in `f32` are off by.
                    let limit = expected.abs() / 256.0 + 1e-4;
                    assert!(
                        (actual - expected).abs() <= limit,
                        "{inputs} to {outputs}, {kernel}x{kernel}, {columns} patches, {y}, {x}, {channel}: {actual}, not {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn values_do_not_depend_on_their_tile() {
    for (inputs, outputs, kernel) in SHAPES {
        let (weights, bias) = (
            noise(inputs * outputs * kernel * kernel, 3),
            noise(outputs, 5),
        );
        let layer = Layer::new(&weights, bias, inputs, kernel);
        let compute = |columns| {
            let mut output = map(outputs, columns, 13);
            output.restart();
            let input = map(inputs, columns, 7);
            layer.convolve(tiles(), &input, 0, output.append(4), Finish::Relu);
            output
        };
        let widest = compute(40);
        for columns in [1, 2, 5, 33] {
            let narrow = compute(columns);
            for y in 0..4 {
                // Except where the right border shows.
                let same = (4 * columns - kernel / 2) * outputs;
                assert_eq!(narrow.row(y)[..same], widest.row(y)[..same]);
            }
        }
    }
}

#[test]
fn linear_layers_are_nearly_in_full_precision() {
    let (inputs, outputs, count) = (200, 70, 37);
    let (weights, bias) = (noise(inputs * outputs, 3), noise(outputs, 5));
    let input = noise(inputs * count, 7);
    for relu in [false, true] {
        let expected = input.chunks_exact(inputs).flat_map(|input| {
            let layer = weights.chunks_exact(inputs).zip(&bias);
            layer.map(move |(weights, bias)| {
                let sum: f32 = weights.iter().zip(input).map(|(w, value)| w * value).sum();
                let value = sum + bias;
                if relu { value.max(0.0) } else { value }
            })
        });
        let layer = Tiles::pack_linear(&weights, bias.clone(), inputs);
        let actual = tiles().linear(&layer, &input, count, relu);
        assert_eq!(actual.len(), count * outputs);
        for (a, b) in actual.iter().zip(expected) {
            // Products of both lower halves are left out: 2^-18 of each product.
            assert!((a - b).abs() < 2e-4, "{a}, not {b}");
        }
    }
}
