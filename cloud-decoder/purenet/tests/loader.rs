//! Files that are not exactly a decoder are refused, by name and without harm.

use proptest::prelude::*;
use purenet::{Decoder, Model, ModelError, PatchLinear, StageLayout};
use safetensors::{Dtype, SafeTensors, serialize, tensor::TensorView};
use serde_json::{Value, json};
use std::collections::HashMap;

const GOLDEN: &[u8] = include_bytes!("golden/full.safetensors");

/// A decoder file taken apart, to be changed and put together again.
struct Parts {
    metadata: HashMap<String, String>,
    tensors: HashMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
}

impl Parts {
    fn golden() -> Self {
        let (_, header) = SafeTensors::read_metadata(GOLDEN).unwrap();
        let file = SafeTensors::deserialize(GOLDEN).unwrap();
        let part =
            |view: TensorView<'_>| (view.dtype(), view.shape().to_vec(), view.data().to_vec());
        let tensors = file
            .tensors()
            .into_iter()
            .map(|(name, view)| (name, part(view)))
            .collect();
        Self {
            metadata: header.metadata().clone().unwrap(),
            tensors,
        }
    }

    /// The golden decoder with its network description edited.
    fn with_layout(edit: impl FnOnce(&mut Value)) -> Self {
        let mut parts = Self::golden();
        let mut layout = serde_json::from_str(&parts.metadata["stages"]).unwrap();
        edit(&mut layout);
        parts.metadata.insert("stages".into(), layout.to_string());
        parts
    }

    /// The golden decoder with one tensor edited.
    fn with_tensor(name: &str, edit: impl FnOnce(&mut (Dtype, Vec<usize>, Vec<u8>))) -> Self {
        let mut parts = Self::golden();
        edit(parts.tensors.get_mut(name).unwrap());
        parts
    }

    fn load(self) -> Result<Decoder, ModelError> {
        let views = self.tensors.iter().map(|(name, (dtype, shape, data))| {
            (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
        });
        Decoder::from_safetensors(&serialize(views, Some(self.metadata)).unwrap())
    }

    #[track_caller]
    fn refused(self, message: &str) {
        let error = self
            .load()
            .expect_err("the file should be refused")
            .to_string();
        assert!(
            error.contains(message),
            "{error:?} does not say {message:?}"
        );
    }
}

#[test]
fn parts_put_together_load() {
    assert_eq!(Parts::golden().load().unwrap().bits(), 24);
}

/// The values of a tensor of one byte or more.
fn integers((dtype, _, data): &(Dtype, Vec<usize>, Vec<u8>)) -> Vec<f64> {
    let wide = |bytes: &[u8]| match *bytes {
        [a] => f64::from(a as i8),
        [a, b] => f64::from(i16::from_le_bytes([a, b])),
        [a, b, c, d] => f64::from(i32::from_le_bytes([a, b, c, d])),
        _ => unreachable!("{dtype}"),
    };
    let size = match dtype {
        Dtype::I8 => 1,
        Dtype::I16 => 2,
        Dtype::I32 => 4,
        _ => unreachable!("{dtype}"),
    };
    data.chunks(size).map(wide).collect()
}

#[test]
fn a_model_to_read_has_the_layers_in_floating_point_and_what_does_not_load_is_refused() {
    let model = Model::from_safetensors(GOLDEN).unwrap();
    let decoder = Decoder::from_safetensors(GOLDEN).unwrap();
    assert_eq!(model.program(), decoder.program());
    let first = &model.layout().stages[0];
    assert!(matches!(
        first,
        StageLayout::PatchLinear(PatchLinear { bits: 24, .. })
    ));
    let tensors = Parts::golden().tensors;
    // Each layer's outputs are multiplied and shifted, and its inputs scaled; this one is not next to a frame.
    for name in ["body8.0.conv1", "body8.0.conv2", "up"] {
        let of = |part: &str| integers(&tensors[&format!("{name}.{part}")]);
        let (reading, multipliers) = (of("reading"), of("multiplier"));
        let shape = &tensors[&format!("{name}.weight")].1;
        let factor = |output: usize| multipliers[output] / 32_768.0 / reading[2].exp2();
        let weights = of("weight");
        let window = weights.len() / shape[0];
        let found = model.tensor(&format!("{name}.weight")).unwrap();
        assert_eq!(found.shape(), &shape[..]);
        for (at, (&found, weight)) in found.iter().zip(weights).enumerate() {
            let expected = weight * factor(at / window) * reading[0] / 32_768.0;
            assert!(
                (f64::from(found) - expected).abs() <= 1e-6 * expected.abs(),
                "{name}, {at}"
            );
        }
        let found = model.tensor(&format!("{name}.bias")).unwrap();
        for (output, (&found, bias)) in found.iter().zip(of("bias")).enumerate() {
            let expected = bias * factor(output);
            assert!(
                (f64::from(found) - expected).abs() <= 1e-6 * expected.abs(),
                "{name}"
            );
        }
    }
    assert_eq!(model.tensor("other.weight"), None);
    assert!(Model::from_safetensors(&GOLDEN[..GOLDEN.len() - 1]).is_err());
}

#[test]
fn metadata_is_checked() {
    for key in ["format", "program", "stages"] {
        let mut parts = Parts::golden();
        parts.metadata.remove(key);
        parts.refused(&format!("metadata entry `{key}` is missing"));
    }
    let with = |key: &str, value: &str| {
        let mut parts = Parts::golden();
        parts.metadata.insert(key.into(), value.into());
        parts
    };
    with("format", "patchwire-decoder-3").refused("must be \"patchwire-decoder-2\"");
    with("format", "patchwire-decoder-1").refused("recipes.quantize` converts such a file");
    for id in [
        "",
        "00",
        &"0".repeat(63),
        &"0".repeat(66),
        &"A".repeat(64),
        &"g".repeat(64),
    ] {
        with("program", id).refused("64 lowercase hexadecimal digits");
    }
    with("stages", "[").refused("not a network description");
    with("stages", &"[".repeat(100_000)).refused("not a network description");
}

#[test]
fn stages_are_checked() {
    let cases = [
        (
            "/stages/0/hidden",
            json!(4097),
            "hidden is 4097, allowed is 1 to 4096",
        ),
        (
            "/stages/0/bits",
            json!(12),
            "stage 0 (patch_linear `synthesis`): bits is 12, allowed is a mult",
        ),
        (
            "/stages/0/prefixes",
            json!([8, 8]),
            "prefixes is 8, allowed is multiples of 8 below 24, each more",
        ),
        (
            "/stages/0/prefixes",
            json!([24]),
            "prefixes is 24, allowed is multiples of 8 below 24",
        ),
        (
            "/stages/0/grid",
            json!(6),
            "grid is 6, allowed is 1, 2, 4, 8, 16 or 32",
        ),
        (
            "/stages/0/channels",
            json!(1025),
            "channels is 1025, allowed is 1 to 1024",
        ),
        (
            "/stages/1/in",
            json!(47),
            "stage 1 (conv `head`): in is 47, allowed is 48, the channels of",
        ),
        ("/stages/1/out", json!(0), "out is 0, allowed is 1 to 1024"),
        (
            "/stages/1/kernel",
            json!(7),
            "kernel is 7, allowed is 1, 3 or 5",
        ),
        (
            "/stages/2/channels",
            json!(17),
            "stage 2 (residual `body8.0`): channels is 17, allowed is 19",
        ),
        (
            "/stages/4/factor",
            json!(8),
            "stage 4 (pixel_shuffle): factor is 8, allowed is a power of two",
        ),
        (
            "/stages/4/factor",
            json!(4),
            "one whose square divides 84 channels",
        ),
        (
            "/stages/3/name",
            json!("head"),
            "stage 3 (conv `head`): its name is taken",
        ),
        (
            "/stages/3/kind",
            json!("deconv"),
            "unknown variant `deconv`",
        ),
        (
            "/stages/8",
            json!({"kind": "pixel_shuffle", "factor": 2, "x": 1}),
            "unknown field `x`",
        ),
        (
            "/stages/5/in",
            json!(48),
            "stage 5 (join `join`): in is 48, allowed is 12, the RGB pixels of a position",
        ),
        (
            "/stages/5/channels",
            json!(17),
            "stage 5 (join `join`): channels is 17, allowed is 21, the channels of",
        ),
        (
            "/base",
            Value::Null,
            "stage 5 (join `join`): needs a `base`, which the network does not have",
        ),
        ("/base/factor", json!(8), "base: factor is 8, allowed is 4"),
        (
            "/base/channels",
            json!(47),
            "base: channels is 47, allowed is 48",
        ),
    ];
    for (place, value, message) in cases {
        Parts::with_layout(|layout| *layout.pointer_mut(place).unwrap() = value).refused(message);
    }
    let stages = |edit: fn(&mut Vec<Value>)| {
        Parts::with_layout(|layout| edit(layout["stages"].as_array_mut().unwrap()))
    };
    stages(Vec::clear).refused("network has 0 stages, must have 2 to 64");
    stages(|stages| stages.resize(65, stages[4].clone())).refused("network has 65 stages");
    stages(|stages| stages.swap(0, 1))
        .refused("stage 0 (conv `head`): the first stage, and only it");
    stages(|stages| {
        stages.insert(
            1,
            json!({"kind": "patch_linear", "name": "again", "bits": 8, "hidden": 8, "grid": 8, "channels": 48}),
        )
    })
    .refused("stage 1 (patch_linear `again`): the first stage, and only it");
    stages(|stages| stages.truncate(8)).refused("ends with 12 channels at 16 x 16 positions");
    stages(|stages| stages.truncate(7))
        .refused("stage 6 (residual `body4.0`): the last stage must be a conv, or a pixel_shuffle");
    stages(|stages| stages.swap(2, 4)).refused("stage 2 (pixel_shuffle): factor is 2");
    stages(|stages| {
        let block = json!({"kind": "residual", "name": "first", "channels": 48, "kernel": 3});
        stages.insert(1, block);
    })
    .refused("stage 1 (residual `first`): in a network with a `base`, the second stage must be a");
    stages(|stages| stages.push(json!({"kind": "pixel_shuffle", "factor": 2})))
        .refused("factor is 2, allowed is a power of two from 2 to 1");
}

#[test]
fn tensors_are_checked() {
    let mut parts = Parts::golden();
    parts.tensors.remove("body4.0.conv2.bias");
    parts.refused("stage 6 (residual `body4.0`): tensor `body4.0.conv2.bias` is missing");

    let mut parts = Parts::golden();
    let extra = parts.tensors["up.bias"].clone();
    parts.tensors.insert("extra".into(), extra);
    parts.refused("tensor `extra` belongs to no stage");

    Parts::with_tensor("up.bias", |(_, shape, _)| *shape = vec![7, 12])
        .refused("tensor `up.bias` has shape [7, 12], must have [84]");
    Parts::with_tensor("up.bias", |(dtype, ..)| *dtype = Dtype::F32)
        .refused("tensor `up.bias` has type F32, must be I32");
}

/// Writes a number over the beginning of a tensor.
fn beginning<const N: usize>(name: &str, number: [u8; N]) -> Parts {
    Parts::with_tensor(name, |(.., data)| data[..N].copy_from_slice(&number))
}

#[test]
fn numbers_are_checked() {
    beginning("up.weight", [64]).refused("tensor `up.weight` holds 64, allowed is -64 to 63");
    beginning("up.multiplier", (-1i16).to_le_bytes())
        .refused("tensor `up.multiplier` holds -1, allowed is 0 to 32767");
    beginning("up.reading", (-1i32).to_le_bytes())
        .refused("tensor `up.reading` holds -1, allowed is 0 to 32767");
    let readings = [
        ([0, 256, 0], "256, allowed is 0 to 255"),
        ([0, 0, 32], "32, allowed is 0 to 31"),
    ];
    for (reading, message) in readings {
        let parts = Parts::with_tensor("up.reading", |(.., data)| {
            *data = reading
                .iter()
                .flat_map(|value: &i32| value.to_le_bytes())
                .collect();
        });
        parts.refused(&format!("tensor `up.reading` holds {message}"));
    }
    beginning("synthesis.shift", 32i32.to_le_bytes())
        .refused("tensor `synthesis.shift` holds 32, allowed is 0 to 31");
    beginning("synthesis.hidden.multiplier", (-2i16).to_le_bytes())
        .refused("tensor `synthesis.hidden.multiplier` holds -2");
}

#[test]
fn sums_that_could_leave_their_bits_are_refused() {
    beginning("up.bias", i32::MAX.to_le_bytes())
        .refused("layer `up`: the sum of output 0 may reach 2");
    beginning("synthesis.bias", i32::MIN.to_le_bytes())
        .refused("layer `synthesis`: the sum of output 0 may reach 2");
    beginning("synthesis.hidden.bias", i16::MIN.to_le_bytes())
        .refused("layer `synthesis.hidden`: the sum of unit 0 may reach");
}

#[test]
fn a_small_file_cannot_ask_for_much_memory() {
    let huge = Parts::with_layout(|layout| {
        layout["stages"][0]["bits"] = json!(4096);
        layout["stages"][0]["hidden"] = json!(4096);
        layout["stages"][0]["grid"] = json!(32);
        layout["stages"][0]["channels"] = json!(1024);
        layout["stages"][1]["in"] = json!(1024);
        layout["stages"][1]["out"] = json!(3);
        layout["stages"].as_array_mut().unwrap().truncate(2);
        layout["base"] = Value::Null;
    });
    huge.refused(
        "stage 0 (patch_linear `synthesis`): the network needs more than 33554432 weights",
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_files_do_no_harm(
        edits in prop::collection::vec((0usize..2800, any::<u8>()), 0..4),
        length in prop_oneof![Just(GOLDEN.len()), 0..GOLDEN.len()],
    ) {
        let mut bytes = GOLDEN[..length].to_vec();
        for (place, value) in edits {
            if let Some(byte) = bytes.get_mut(place) {
                *byte = value;
            }
        }
        if let Ok(decoder) = Decoder::from_safetensors(&bytes) {
            let latents = vec![0xa5; decoder.bits() as usize / 8];
            prop_assert_eq!(decoder.decode(&latents, 7, 9).map(|rgb| rgb.len()), Ok(7 * 9 * 3));
        }
    }
}
