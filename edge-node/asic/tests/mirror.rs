//! Mirrored kernels: what they compute, what they cost, and which files of them are refused.

mod common;

use std::sync::Arc;

use common::{Noise, Sparsity, WHOLE, resealed, sparse_conv};
use nqe::{
    ConvSpec, Emulator, Kernel, Mirror, Op, Output, OutputKind, PATCH_BYTES, Pool, Program,
    ProgramBuilder, ProgramError, Pruned, Task, WeightKind, Wiring,
};

const HIDDEN: ConvSpec = ConvSpec {
    out_channels: 8,
    kernel_height: 3,
    kernel_width: 3,
    stride: 1,
    padding: 1,
    groups: 1,
    weights: WeightKind::Quinary,
    output: OutputKind::Codes,
    shift: 7,
    bias_bits: 10,
};
const LOGITS: ConvSpec = ConvSpec {
    out_channels: 3,
    kernel_height: 4,
    kernel_width: 4,
    padding: 0,
    weights: WeightKind::Ternary,
    output: OutputKind::Logits,
    shift: 0,
    ..HIDDEN
};

// Offset in the file of `classifier`: header 12, name 1, input 5, labels 2 + 3 * 2, layers 2, then the layer.
const MIRROR0: usize = 28 + 13;

fn mirrored(mirror: Mirror) -> Wiring {
    Wiring {
        mirror: Some(mirror),
        ..Wiring::default()
    }
}

/// Adds a mirrored layer of random numbers.
fn layer(
    builder: &mut ProgramBuilder,
    spec: ConvSpec,
    mirror: Mirror,
    noise: &mut Noise,
) -> Result<(), ProgramError> {
    let sparsity = Sparsity {
        mirror: Some(mirror),
        ..Sparsity::NONE
    };
    sparse_conv(builder, spec, sparsity, noise)
}

/// Pixels, a pooling, codes and logits, all mirrored.
fn classifier() -> Program {
    let labels = ["a", "b", "c"].map(String::from).to_vec();
    let mut builder = ProgramBuilder::new(Task::Classify, "", labels).unwrap();
    let noise = &mut Noise(5);
    layer(&mut builder, HIDDEN, Mirror::Outputs, noise).unwrap();
    let halves = Pool {
        kernel: 2,
        stride: 2,
    };
    builder.pool(halves).unwrap();
    let deeper = ConvSpec {
        out_channels: 12,
        shift: 3,
        ..HIDDEN
    };
    layer(&mut builder, deeper, Mirror::Outputs, noise).unwrap();
    builder.pool(halves).unwrap();
    builder.pool(halves).unwrap();
    layer(&mut builder, LOGITS, Mirror::Inputs, noise).unwrap();
    builder.finish().unwrap()
}

#[test]
fn a_patch_and_its_mirror_image_have_the_same_logits() {
    let program = Arc::new(classifier());
    let mut noise = Noise(3);
    for kernel in Kernel::available() {
        let emulator = Emulator::with_kernel(program.clone(), kernel).unwrap();
        let mut seen = Vec::new();
        for _ in 0..4 {
            let pixels = noise.bytes(PATCH_BYTES);
            let rows = pixels.chunks(32 * 3);
            let image: Vec<u8> = rows
                .flat_map(|row| row.rchunks(3).flatten().copied())
                .collect();
            let logits = emulator.run_patch(&pixels).unwrap();
            assert_eq!(emulator.run_patch(&image).unwrap(), logits, "{kernel}");
            assert!(!seen.contains(&logits), "{kernel}: {logits:?} again");
            seen.push(logits);
        }
    }
}

#[test]
fn the_second_half_of_the_outputs_is_the_image_of_the_first() {
    let first = ConvSpec {
        out_channels: 2,
        kernel_height: 32,
        kernel_width: 2,
        stride: 30,
        padding: 0,
        shift: 0,
        ..HIDDEN
    };
    let last = ConvSpec {
        out_channels: 8,
        kernel_height: 1,
        kernel_width: 2,
        padding: 0,
        weights: WeightKind::Ternary,
        output: OutputKind::Latent,
        shift: 0,
        ..HIDDEN
    };
    let mut builder = ProgramBuilder::new(Task::Compress, "", Vec::new()).unwrap();
    // Channel 0 sees the red of the top left pixel of its two columns, channel 1 that of the top right one.
    let mut weights = vec![0; 32 * 2 * 3];
    weights[0] = 1;
    builder
        .wired_conv(first, mirrored(Mirror::Outputs), weights, vec![0])
        .unwrap();
    // Each bit of the first half asks for one place of the two columns and channels; those of the second half mirror
    // it.
    let mut weights = vec![0; 4 * 4];
    (0..4).for_each(|bit| weights[bit * 4 + bit] = 1);
    builder
        .wired_conv(last, mirrored(Mirror::Outputs), weights, vec![-1; 4])
        .unwrap();
    let program = Arc::new(builder.finish().unwrap());
    // Windows are columns 0, 1 and 30, 31: columns 0, 1, 30, 31 are (column, channel) = (0, 0), (0, 1), (1, 0), (1, 1).
    let bits = [
        (0, 0b1000_0001),
        (1, 0b0100_0010),
        (30, 0b0010_0100),
        (31, 0b0001_1000),
    ];
    for (column, expected) in bits {
        let mut pixels = vec![0; PATCH_BYTES];
        pixels[column * 3] = 1;
        for kernel in Kernel::available() {
            let emulator = Emulator::with_kernel(program.clone(), kernel).unwrap();
            let output = emulator.run_patch(&pixels).unwrap();
            assert_eq!(output, Output::Bits(vec![expected]), "{kernel}: {column}");
        }
    }
}

#[test]
fn a_half_is_stored_and_the_whole_computed() {
    let program = classifier();
    let memory = program.memory();
    let weights = [4 * 27 * 3, 6 * 72 * 3, 3 * 16 * 6 * 2];
    assert_eq!(memory.weights(), weights.iter().sum::<u64>());
    assert_eq!(memory.biases(), 10 * (4 + 6 + 3));
    let macs = 1024 * 8 * 27 + 256 * 12 * 72 + 3 * 16 * 12;
    assert_eq!(program.macs(), macs);
    let read = Program::from_bytes(&program.to_bytes()).unwrap();
    assert_eq!(read, program);
    let Some(Op::Conv(last)) = read.layers().last().map(|layer| &layer.op) else {
        panic!("a convolution comes last");
    };
    assert_eq!(last.wiring, mirrored(Mirror::Inputs));
}

#[test]
fn broken_fields_are_named() {
    let cases = [
        (
            0,
            3,
            "layer 0 mirror is 3, allowed: 0 (none), 1 (output channels) or 2 (input channels)",
        ),
        (
            0,
            2,
            "layer 0 input channels is 3, allowed: an even number where kernels are mirrored",
        ),
        (
            1,
            8,
            "layer 0 kernels is 8, allowed: 4 where kernels are mirrored",
        ),
        (
            3,
            1,
            "layer 0 gap_bits is 1, allowed: 0 where kernels are mirrored",
        ),
    ];
    for (offset, byte, expected) in cases {
        let mut bytes = classifier().to_bytes();
        bytes[MIRROR0 + offset] = byte;
        let error = Program::from_bytes(&resealed(bytes)).unwrap_err();
        assert_eq!(error.to_string(), expected, "byte {offset} set to {byte}");
    }
}

#[test]
fn a_maker_cannot_build_what_no_file_holds() {
    let pruned = Wiring {
        pruned: Some(Pruned {
            gap_bits: 1,
            kept: vec![vec![0]; 8],
        }),
        ..mirrored(Mirror::Outputs)
    };
    let odd = ConvSpec {
        out_channels: 7,
        ..WHOLE
    };
    let groups = ConvSpec {
        groups: 3,
        out_channels: 6,
        ..WHOLE
    };
    let outputs = || mirrored(Mirror::Outputs);
    let cases = [
        (
            WHOLE,
            pruned,
            "layer 0 mirror is 1, allowed: 0 where kernels are shared or pruned",
        ),
        (
            odd,
            outputs(),
            "layer 0 out_channels is 7, allowed: an even number where kernels are mirrored",
        ),
        (
            groups,
            outputs(),
            "layer 0 groups is 3, allowed: 1 where kernels are mirrored",
        ),
        (
            WHOLE,
            outputs(),
            "layer 0 weights is 1, allowed: 24576 weights",
        ),
    ];
    for (spec, wiring, expected) in cases {
        let mut builder = ProgramBuilder::new(Task::Compress, "", Vec::new()).unwrap();
        let error = builder
            .wired_conv(spec, wiring, vec![1], vec![0; 8])
            .unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}
