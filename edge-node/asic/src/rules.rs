//! The rules of a single layer, given the map it reads.

use crate::checks::value;
use crate::error::ProgramError;
use crate::kinds::{Element, OutputKind};
use crate::layer::Conv;
use crate::shapes::{ConvSpec, Map, Pool};
use crate::wiring::Wiring;

/// Checks a convolution's shape, and gives the map it writes.
pub(crate) fn conv_output(layer: usize, spec: &ConvSpec, input: Map) -> Result<Map, ProgramError> {
    let largest_shift = if spec.output == OutputKind::Latent {
        0
    } else {
        31
    };
    let ranges = [
        ("out_channels", spec.out_channels, 1, 4096),
        ("kernel height", spec.kernel_height, 1, 32),
        ("kernel width", spec.kernel_width, 1, 32),
        ("stride", spec.stride, 1, 32),
        ("padding", spec.padding, 0, 16),
        ("groups", spec.groups, 1, 4096),
        ("shift", spec.shift, 0, largest_shift),
        ("bias_bits", spec.bias_bits, 1, 32),
    ];
    for (name, found, low, high) in ranges {
        value(layer, name, found, (low..=high).contains(&found), || {
            format!("{low} to {high}")
        })?;
    }
    let divides =
        input.channels.is_multiple_of(spec.groups) && spec.out_channels.is_multiple_of(spec.groups);
    value(layer, "groups", spec.groups, divides, || {
        format!(
            "divisors of {} input and {} output channels",
            input.channels, spec.out_channels
        )
    })?;
    let height = input.height + 2 * spec.padding;
    let width = input.width + 2 * spec.padding;
    let allowed = |side| move || format!("up to the padded input's side, {side}");
    value(
        layer,
        "kernel height",
        spec.kernel_height,
        spec.kernel_height <= height,
        allowed(height),
    )?;
    value(
        layer,
        "kernel width",
        spec.kernel_width,
        spec.kernel_width <= width,
        allowed(width),
    )?;
    Ok(Map {
        height: (height - spec.kernel_height) / spec.stride + 1,
        width: (width - spec.kernel_width) / spec.stride + 1,
        channels: spec.out_channels,
        element: match spec.output {
            OutputKind::Codes => Element::Code,
            OutputKind::Latent => Element::Latent,
            OutputKind::Logits => Element::Logit,
        },
    })
}

/// Checks a pooling's shape, and gives the map it writes.
pub(crate) fn pool_output(layer: usize, pool: &Pool, input: Map) -> Result<Map, ProgramError> {
    value(
        layer,
        "kernel",
        pool.kernel,
        (1..=32).contains(&pool.kernel),
        || "1 to 32".into(),
    )?;
    value(
        layer,
        "stride",
        pool.stride,
        (1..=32).contains(&pool.stride),
        || "1 to 32".into(),
    )?;
    let side = input.height.min(input.width);
    value(layer, "kernel", pool.kernel, pool.kernel <= side, || {
        format!("up to the input's side, {side}")
    })?;
    let height = (input.height - pool.kernel) / pool.stride + 1;
    let width = (input.width - pool.kernel) / pool.stride + 1;
    Ok(Map {
        height,
        width,
        ..input
    })
}

/// Stored weights of a checked convolution that reads `input`; at most 2^34.
pub(crate) fn weight_count(spec: &ConvSpec, wiring: &Wiring, input: Map) -> usize {
    let channels = match &wiring.pruned {
        Some(pruned) => pruned.kept.iter().map(Vec::len).sum(),
        None => (wiring.kernels(spec) * wiring.channels(spec, input)) as usize,
    };
    (spec.kernel_height * spec.kernel_width) as usize * channels
}

/// Checks the wiring, weights and biases of a convolution whose shape is right.
pub(crate) fn check_numbers(layer: usize, conv: &Conv, input: Map) -> Result<(), ProgramError> {
    let Conv {
        spec,
        wiring,
        weights,
        biases,
    } = conv;
    wiring.check(layer, spec, input)?;
    let count = weight_count(spec, wiring, input);
    value(
        layer,
        "weights",
        weights.len(),
        weights.len() == count,
        || format!("{count} weights"),
    )?;
    let count = wiring.biases(spec) as usize;
    value(layer, "biases", biases.len(), biases.len() == count, || {
        format!("{count} biases")
    })?;
    let levels = spec.weights.levels();
    if let Some(index) = weights.iter().position(|weight| !levels.contains(weight)) {
        return Err(ProgramError::Weight {
            layer,
            index,
            found: weights[index].into(),
            kind: spec.weights,
        });
    }
    let reach = 1i64 << (spec.bias_bits - 1);
    for &bias in biases {
        value(
            layer,
            "bias",
            bias,
            (-reach..reach).contains(&bias.into()),
            || format!("{} to {} in {} bits", -reach, reach - 1, spec.bias_bits),
        )?;
    }
    check_accumulators(layer, &conv.whole(input), input)
}

/// Any partial sum, in any order, lies between the bias plus all negative and the bias plus all positive products.
fn check_accumulators(layer: usize, conv: &Conv, input: Map) -> Result<(), ProgramError> {
    let largest = if input.element == Element::Pixel {
        255
    } else {
        3
    };
    let sum = |weights: &[i8], sign: i64| {
        let weights = weights.iter().map(|&w| i64::from(w));
        weights.filter(|w| w * sign > 0).sum::<i64>() * largest
    };
    let kernels = conv.kernels(input);
    let reaches: Vec<_> = kernels
        .iter()
        .map(|kernel| (sum(kernel.weights, -1), sum(kernel.weights, 1)))
        .collect();
    for (channel, &bias) in conv.biases.iter().enumerate() {
        let (below, above) = reaches[conv.kernel_of(channel)];
        let (low, high) = (i64::from(bias) + below, i64::from(bias) + above);
        if low < i64::from(i32::MIN) || high > i64::from(i32::MAX) {
            return Err(ProgramError::Accumulator {
                layer,
                channel,
                low,
                high,
            });
        }
    }
    Ok(())
}
