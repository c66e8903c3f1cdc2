//! The loader takes what the writer made, and refuses everything else with a typed error.

mod common;

use common::{Noise, conv, programs, resealed};
use nqe::{
    ConvSpec, Op, OutputKind, Pool, Program, ProgramBuilder, ProgramError, ProgramId, Task,
    WeightKind,
};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

const SPEC: ConvSpec = ConvSpec {
    out_channels: 8,
    kernel_height: 4,
    kernel_width: 4,
    stride: 4,
    padding: 0,
    groups: 1,
    weights: WeightKind::Quinary,
    output: OutputKind::Codes,
    shift: 7,
    bias_bits: 9,
};
const LAST: ConvSpec = ConvSpec {
    kernel_height: 8,
    kernel_width: 8,
    stride: 1,
    groups: 2,
    weights: WeightKind::Ternary,
    output: OutputKind::Latent,
    shift: 0,
    ..SPEC
};

// Offsets in the file of `sample`: header 12, name 1 + 6, input 5, labels 2, layers 2, then layer 0.
const INPUT: usize = 19;
const LABELS: usize = 24;
const LAYERS: usize = 26;
const LAYER0: usize = 28;
const WEIGHTS0: usize = LAYER0 + 17;
const LAYER1: usize = WEIGHTS0 + 8 * 48 * 3 / 8 + 9;

fn sample() -> Program {
    let mut builder = ProgramBuilder::new(Task::Compress, "sample", Vec::new()).unwrap();
    conv(&mut builder, SPEC, &mut Noise(1)).unwrap();
    conv(&mut builder, LAST, &mut Noise(2)).unwrap();
    builder.finish().unwrap()
}

fn refusal(edit: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut bytes = sample().to_bytes();
    edit(&mut bytes);
    Program::from_bytes(&resealed(bytes))
        .unwrap_err()
        .to_string()
}

#[test]
fn every_broken_field_is_named() {
    let cases: Vec<(usize, u8, &str)> = vec![
        (4, 1, "program version is 1, allowed: 3"),
        (
            6,
            2,
            "program task is 2, allowed: 0 (classify) or 1 (compress)",
        ),
        (7, 1, "program reserved is 1, allowed: 0"),
        (13, 0xff, "program name is not valid UTF-8"),
        (INPUT, 33, "program input height is 33, allowed: 32"),
        (INPUT + 2, 16, "program input width is 16, allowed: 32"),
        (INPUT + 4, 1, "program input channels is 1, allowed: 3"),
        (LAYERS, 0, "program layers is 0, allowed: 1 to 64"),
        (LAYERS, 65, "program layers is 65, allowed: 1 to 64"),
        (
            LAYERS,
            1,
            "program bytes after the last layer is 538, allowed: 0",
        ),
        (
            LAYERS,
            3,
            "layer 2 kind is cut short: 1 bytes are needed, 0 are left",
        ),
        (
            LAYER0,
            2,
            "layer 0 kind is 2, allowed: 0 (convolution) or 1 (max pooling)",
        ),
        (
            LAYER0 + 1,
            0,
            "layer 0 out_channels is 0, allowed: 1 to 4096",
        ),
        (
            LAYER0 + 2,
            16,
            "layer 0 out_channels is 4104, allowed: 1 to 4096",
        ),
        (
            LAYER0 + 3,
            0,
            "layer 0 kernel height is 0, allowed: 1 to 32",
        ),
        (
            LAYER0 + 4,
            33,
            "layer 0 kernel width is 33, allowed: 1 to 32",
        ),
        (LAYER0 + 5, 0, "layer 0 stride is 0, allowed: 1 to 32"),
        (LAYER0 + 6, 17, "layer 0 padding is 17, allowed: 0 to 16"),
        (
            LAYER0 + 7,
            2,
            "layer 0 groups is 2, allowed: divisors of 3 input and 8 output channels",
        ),
        (
            LAYER0 + 9,
            4,
            "layer 0 weights is 4, allowed: 1 (binary), 2 (ternary) or 3 (quinary)",
        ),
        (
            LAYER0 + 10,
            3,
            "layer 0 output is 3, allowed: 0 (codes), 1 (latent bits) or 2 (logits)",
        ),
        (LAYER0 + 11, 32, "layer 0 shift is 32, allowed: 0 to 31"),
        (LAYER0 + 12, 33, "layer 0 bias_bits is 33, allowed: 1 to 32"),
        (
            WEIGHTS0,
            0b011,
            "layer 0 weight 0 is 3, allowed: quinary -2 to 2",
        ),
        (
            LAYER1 + 3,
            9,
            "layer 1 kernel height is 9, allowed: up to the padded input's side, 8",
        ),
        (LAYER1 + 11, 1, "layer 1 shift is 1, allowed: 0 to 0"),
        (
            LAYER1 + 10,
            2,
            "layer 1 is the last and outputs logits, allowed for compression: latent bits",
        ),
        (
            6,
            0,
            "layer 1 is the last and outputs latent bits, allowed for classification: logits",
        ),
    ];
    for (offset, byte, expected) in cases {
        assert_eq!(
            refusal(|bytes| bytes[offset] = byte),
            expected,
            "byte {offset} set to {byte}"
        );
    }
}

#[test]
fn magic_digest_and_length_are_checked() {
    let bytes = sample().to_bytes();
    let mut wrong = bytes.clone();
    wrong[0] = b'X';
    assert_eq!(
        Program::from_bytes(&wrong),
        Err(ProgramError::Magic { found: *b"XQE1" })
    );
    let mut wrong = bytes.clone();
    wrong[WEIGHTS0] ^= 1;
    assert!(matches!(
        Program::from_bytes(&wrong),
        Err(ProgramError::Digest { .. })
    ));
    let mut wrong = bytes.clone();
    wrong.push(0);
    let error = Program::from_bytes(&wrong).unwrap_err().to_string();
    assert_eq!(error, "program bytes after the digest is 1, allowed: 0");
    for len in 0..bytes.len() {
        let error = Program::from_bytes(&bytes[..len]).unwrap_err();
        assert!(
            matches!(error, ProgramError::Truncated { .. }),
            "{len} bytes: {error}"
        );
    }
}

#[test]
fn labels_must_match_task_and_logits() {
    let error = refusal(|bytes| bytes[LABELS] = 1);
    assert!(
        error.contains("program labels is 1, allowed: 0 for compression"),
        "{error}"
    );
    let logits = ConvSpec {
        output: OutputKind::Logits,
        kernel_height: 32,
        kernel_width: 32,
        stride: 1,
        shift: 0,
        ..SPEC
    };
    for count in [7, 9] {
        let mut builder =
            ProgramBuilder::new(Task::Classify, "", vec!["label".into(); count]).unwrap();
        conv(&mut builder, logits, &mut Noise(1)).unwrap();
        let error = builder.finish().unwrap_err().to_string();
        assert_eq!(
            error,
            format!("layer 0 logits is 8, allowed: {count}, the number of labels")
        );
    }
    let mut builder = ProgramBuilder::new(Task::Classify, "", vec!["label".into(); 8]).unwrap();
    conv(
        &mut builder,
        ConvSpec {
            kernel_height: 31,
            ..logits
        },
        &mut Noise(1),
    )
    .unwrap();
    assert_eq!(
        builder.finish().unwrap_err().to_string(),
        "layer 0 output side is 2, allowed: 1 for logits"
    );
}

#[test]
fn latent_bits_are_whole_bytes_up_to_4096() {
    for (channels, stride, allowed) in [
        (1, 32, false),
        (8, 32, true),
        (12, 32, false),
        (64, 4, true),
        (65, 4, false),
    ] {
        let mut builder = ProgramBuilder::new(Task::Compress, "", Vec::new()).unwrap();
        let spec = ConvSpec {
            out_channels: channels,
            stride,
            output: OutputKind::Latent,
            shift: 0,
            ..SPEC
        };
        conv(&mut builder, spec, &mut Noise(1)).unwrap();
        let bits = channels * (32 / stride) * (32 / stride);
        match builder.finish() {
            Ok(program) => assert_eq!((program.latent_bits(), allowed), (Some(bits), true)),
            Err(error) => {
                let expected =
                    format!("layer 0 latent bits is {bits}, allowed: 8 to 4096, a multiple of 8");
                assert_eq!((error.to_string(), allowed), (expected, false));
            }
        }
    }
}

#[test]
fn only_the_last_layer_outputs() {
    let mut builder = ProgramBuilder::new(Task::Compress, "", Vec::new()).unwrap();
    conv(
        &mut builder,
        ConvSpec {
            output: OutputKind::Latent,
            shift: 0,
            ..SPEC
        },
        &mut Noise(1),
    )
    .unwrap();
    let error = builder
        .pool(Pool {
            kernel: 1,
            stride: 1,
        })
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "layer 0 outputs latent bits, allowed only in the last layer"
    );
    let mut builder = ProgramBuilder::new(Task::Compress, "", Vec::new()).unwrap();
    conv(&mut builder, SPEC, &mut Noise(1)).unwrap();
    let error = builder.finish().unwrap_err().to_string();
    assert_eq!(
        error,
        "layer 0 is the last and outputs codes, allowed for compression: latent bits"
    );
}

#[test]
fn unused_bits_must_be_zero() {
    // 9 channels of 1x1x3 ternary weights: 54 bits, 2 left over.
    let mut builder = ProgramBuilder::new(Task::Compress, "sample", Vec::new()).unwrap();
    let spec = ConvSpec {
        out_channels: 9,
        kernel_height: 1,
        kernel_width: 1,
        weights: WeightKind::Ternary,
        ..SPEC
    };
    conv(&mut builder, spec, &mut Noise(1)).unwrap();
    let last = ConvSpec {
        weights: WeightKind::Binary,
        groups: 1,
        ..LAST
    };
    conv(&mut builder, last, &mut Noise(2)).unwrap();
    let bytes = builder.finish().unwrap().to_bytes();
    let mut wrong = bytes.clone();
    wrong[WEIGHTS0 + 6] |= 0b0100_0000;
    let error = Program::from_bytes(&resealed(wrong))
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "layer 0 packed weights end in unused bits 0b1, allowed: 0"
    );
    // 9 biases of 9 bits: 81 bits, 7 left over.
    let mut wrong = bytes;
    wrong[WEIGHTS0 + 7 + 10] |= 0b1000_0000;
    let error = Program::from_bytes(&resealed(wrong))
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "layer 0 packed biases end in unused bits 0b1000000, allowed: 0"
    );
}

#[test]
fn a_program_over_budget_names_the_layer_and_the_bits() {
    let mut builder = ProgramBuilder::new(Task::Compress, "", Vec::new()).unwrap();
    conv(
        &mut builder,
        ConvSpec {
            out_channels: 128,
            ..SPEC
        },
        &mut Noise(1),
    )
    .unwrap();
    let wide = ConvSpec {
        out_channels: 384,
        kernel_height: 3,
        kernel_width: 3,
        stride: 1,
        padding: 1,
        ..SPEC
    };
    let error = conv(&mut builder, wide, &mut Noise(2)).unwrap_err();
    let first = 128 * 48 * 3 + 128 * 9 + 5;
    let second = 384 * 9 * 128 * 3 + 384 * 9 + 5;
    let maps = 8 * 8 * (128 + 384) * 2;
    assert_eq!(
        error,
        ProgramError::Budget {
            layer: 1,
            bits: first + second + maps
        }
    );
    assert_eq!(
        error.to_string(),
        "layer 1 brings the chip to 1415690 bits, allowed: 1048576"
    );
}

#[test]
fn an_accumulator_that_can_overflow_is_refused() {
    let mut builder = ProgramBuilder::new(Task::Compress, "", Vec::new()).unwrap();
    let spec = ConvSpec {
        bias_bits: 32,
        ..SPEC
    };
    let mut biases = vec![0; 8];
    biases[5] = i32::MAX - 48 * 2 * 255;
    builder
        .clone()
        .conv(spec, vec![2; 8 * 48], biases.clone())
        .unwrap();
    biases[5] += 1;
    let error = builder.conv(spec, vec![2; 8 * 48], biases).unwrap_err();
    let low = i64::from(i32::MAX) - 48 * 2 * 255 + 1;
    assert_eq!(
        error,
        ProgramError::Accumulator {
            layer: 0,
            channel: 5,
            low,
            high: i64::from(i32::MAX) + 1
        }
    );
}

#[test]
fn the_memory_map_adds_up() {
    let program = sample();
    let memory = program.memory();
    assert_eq!(memory.layers[0].weights, 8 * 48 * 3);
    assert_eq!(memory.layers[0].biases, 8 * 9);
    assert_eq!(memory.layers[0].shift, 5);
    assert_eq!(memory.layers[0].input_map, 32 * 32 * 3 * 8);
    assert_eq!(memory.layers[0].output_map, 8 * 8 * 8 * 2);
    assert_eq!(memory.layers[0].macs, 8 * 8 * 8 * 48);
    assert_eq!(memory.layers[1].weights, 8 * 64 * 4 * 2);
    assert_eq!(memory.layers[1].shift, 0);
    assert_eq!(memory.layers[1].output_map, 8);
    assert_eq!(memory.layers[1].macs, 8 * 64 * 4);
    assert_eq!(memory.maps(), 32 * 32 * 3 * 8 + 8 * 8 * 8 * 2);
    assert_eq!(memory.total(), 1152 + 72 + 5 + 4096 + 72 + memory.maps());
    assert_eq!(memory.free() + memory.total(), nqe::BUDGET_BITS);
    assert_eq!(
        program.macs(),
        memory.layers.iter().map(|layer| layer.macs).sum::<u64>()
    );
}

#[test]
fn an_id_is_the_digest_in_hex() {
    let program = sample();
    let bytes = program.to_bytes();
    let text = program.id().to_string();
    assert_eq!(
        text,
        hex::encode(Sha256::digest(&bytes[..bytes.len() - 32]))
    );
    assert_eq!(text.parse(), Ok(program.id()));
    assert!(text.to_uppercase().parse::<ProgramId>().is_err());
    assert!(text[1..].parse::<ProgramId>().is_err());
}

proptest! {
    #[test]
    fn a_written_program_reads_back(program in programs()) {
        let bytes = program.to_bytes();
        let read = Program::from_bytes(&bytes).unwrap();
        prop_assert_eq!(&read, &program);
        prop_assert_eq!(read.to_bytes(), bytes);
        prop_assert!(program.memory().total() <= nqe::BUDGET_BITS);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(Program::from_bytes(&bytes).is_err());
    }

    #[test]
    fn a_random_body_never_panics(task in 0u8..2, body in prop::collection::vec(0u8..40, 0..2000)) {
        let mut bytes = b"NQE1\x03\x00".to_vec();
        bytes.extend([task, 0]);
        bytes.extend((body.len() as u32 + 12).to_le_bytes());
        bytes.extend([0, 32, 0, 32, 0, 3, task ^ 1, 0]);
        bytes.extend(if task == 0 { vec![1, b'a', 1, 0] } else { vec![1, 0, 0, 32] });
        bytes.extend(body);
        bytes.extend([0; 32]);
        // Whatever is accepted must be the one encoding of what was read.
        if let Ok(program) = Program::from_bytes(&resealed(bytes.clone())) {
            prop_assert_eq!(program.to_bytes(), resealed(bytes));
        }
    }

    #[test]
    fn a_mutated_program_is_refused_or_canonical(
        program in programs(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        header_only: bool,
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = program.to_bytes();
        let end = if header_only { bytes.len().min(120) } else { bytes.len() };
        for (index, byte) in edits {
            bytes[index.index(end)] = byte;
        }
        if let Some(cut) = cut {
            bytes.remove(cut.index(end));
        }
        let bytes = resealed(bytes);
        if let Ok(read) = Program::from_bytes(&bytes) {
            prop_assert_eq!(read.to_bytes(), bytes);
            for layer in read.layers() {
                if let Op::Conv(conv) = &layer.op {
                    prop_assert!(conv.weights.iter().all(|w| conv.spec.weights.levels().contains(w)));
                }
            }
        }
    }
}
