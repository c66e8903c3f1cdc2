//! Shared and pruned kernels: what they cost, and which files of them are refused.

mod common;

use std::sync::Arc;

use common::{Noise, Sparsity, WHOLE, resealed, sparse_conv};
use nqe::{
    ConvSpec, Emulator, Kernel, Op, OutputKind, PATCH_BYTES, Program, ProgramBuilder, ProgramError,
    Pruned, Shared, Task, WeightKind, Wiring,
};

/// 8 bits a patch of 3 kernels, each of which sees one or two of red, green and blue.
const SPEC: ConvSpec = ConvSpec {
    out_channels: 8,
    bias_bits: 19,
    ..WHOLE
};
const AREA: usize = 32 * 32;

// Offsets in the file of `sample`: header 12, name 1, input 5, labels 2, layers 2, then the layer.
const LAYER: usize = 22;
const KERNELS: usize = LAYER + 14;
const GAP_BITS: usize = KERNELS + 2;
const INDICES: usize = GAP_BITS + 1;
const KEPT: usize = INDICES + 2;

fn wiring() -> Wiring {
    Wiring {
        shared: Some(Shared {
            kernels: 3,
            kernel_of: vec![0, 0, 1, 1, 1, 2, 2, 0],
        }),
        pruned: Some(Pruned {
            gap_bits: 2,
            kept: vec![vec![0], vec![1, 2], vec![]],
        }),
        mirror: None,
    }
}

fn built(spec: ConvSpec, wiring: Wiring, weights: Vec<i8>) -> Result<Program, ProgramError> {
    let mut builder = ProgramBuilder::new(Task::Compress, "", Vec::new())?;
    let biases = (0..spec.out_channels as i32).map(|bias| -1000 * bias);
    builder.wired_conv(spec, wiring, weights, biases.collect())?;
    builder.finish()
}

fn sample() -> Program {
    built(SPEC, wiring(), vec![1; 3 * AREA]).unwrap()
}

fn refusal(edit: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut bytes = sample().to_bytes();
    edit(&mut bytes);
    let body_len = bytes.len() - 12 - 32;
    bytes[8..12].copy_from_slice(&(body_len as u32).to_le_bytes());
    Program::from_bytes(&resealed(bytes))
        .unwrap_err()
        .to_string()
}

#[test]
fn the_layout_is_that_of_the_format() {
    let bytes = sample().to_bytes();
    assert_eq!(bytes[KERNELS..INDICES], [3, 0, 2]);
    // 0, 0, 1, 1, 1, 2, 2, 0 in 2 bits each.
    assert_eq!(bytes[INDICES..KEPT], [0b0101_0000, 0b0010_1001]);
    // Keep 0, skip the rest; skip 1 and keep 1, keep 2; skip all 3.
    assert_eq!(bytes[KEPT..KEPT + 2], [0b0001_1100, 0b11]);
    let biases = (8 * 19usize).div_ceil(8);
    assert_eq!(bytes.len(), KEPT + 2 + 3 * AREA * 2 / 8 + biases + 32);
}

#[test]
fn what_is_left_out_costs_nothing() {
    let program = sample();
    let memory = program.memory();
    assert_eq!(memory.weights(), 3 * AREA as u64 * 2);
    assert_eq!(memory.wiring(), 8 * 2 + 5 * 2);
    assert_eq!(memory.biases(), 8 * 19);
    assert_eq!(
        memory.total(),
        memory.weights() + memory.wiring() + memory.biases() + memory.maps()
    );
    assert_eq!(program.macs(), 3 * AREA as u64);
}

#[test]
fn each_channel_has_its_own_bias_on_the_kernel_it_shares() {
    let program = Arc::new(sample());
    let pixels = [1, 2, 3].repeat(AREA);
    // Sums are 1024, 5120 and 0; channel c subtracts 1000 c.
    let expected = [true, true, true, true, true, false, false, false];
    let byte = (0..8).fold(0u8, |byte, c| byte | u8::from(expected[c]) << c);
    for kernel in Kernel::available() {
        let emulator = Emulator::with_kernel(program.clone(), kernel).unwrap();
        assert_eq!(
            emulator.run_patch(&pixels).unwrap(),
            nqe::Output::Bits(vec![byte]),
            "{kernel}"
        );
    }
}

#[test]
fn every_broken_field_is_named() {
    let cases: [(usize, u8, &str); 11] = [
        (KERNELS, 0, "layer 0 kernels is 0, allowed: 1 to 8"),
        (KERNELS, 9, "layer 0 kernels is 9, allowed: 1 to 8"),
        (KERNELS + 1, 1, "layer 0 kernels is 259, allowed: 1 to 8"),
        (GAP_BITS, 11, "layer 0 gap_bits is 11, allowed: 0 to 10"),
        (
            INDICES,
            0b1101_0000,
            "layer 0 kernel index is 3, allowed: 0 to 2",
        ),
        // Kernel 0 keeps 0, skips 2 and keeps 3.
        (
            KEPT,
            0b0001_1000,
            "layer 0 kept channel is 3, allowed: 0 to 2",
        ),
        (
            KEPT + 1,
            0b0111,
            "layer 0 packed kept channels end in unused bits 0b1, allowed: 0",
        ),
        // Kernel 2 keeps channel 2, for which no weights are left.
        (
            KEPT + 1,
            0b10,
            "layer 0 packed weights is cut short: 1024 bytes are needed, 787 are left",
        ),
        (
            LAYER + 7,
            3,
            "layer 0 groups is 3, allowed: divisors of 3 input and 8 output channels",
        ),
        (
            LAYER + 9,
            3,
            "layer 0 packed weights is cut short: 1152 bytes are needed, 787 are left",
        ),
        (LAYER + 12, 33, "layer 0 bias_bits is 33, allowed: 1 to 32"),
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
fn streams_that_end_early_are_refused() {
    let cases = [
        (
            INDICES + 1,
            "layer 0 packed kernel indices is cut short: 2 bytes are needed, 1 are left",
        ),
        (
            KEPT + 1,
            "layer 0 packed kept channels is cut short: 2 bytes are needed, 1 are left",
        ),
        (
            GAP_BITS,
            "layer 0 gap_bits is cut short: 1 bytes are needed, 0 are left",
        ),
    ];
    for (end, expected) in cases {
        let cut = |bytes: &mut Vec<u8>| {
            bytes.drain(end..bytes.len() - 32);
        };
        assert_eq!(refusal(cut), expected, "cut at {end}");
    }
}

#[test]
fn unused_index_bits_must_be_zero() {
    let mut shared = wiring();
    shared.shared = Some(Shared {
        kernels: 3,
        kernel_of: vec![0, 1, 2, 0, 1, 2, 0, 1, 2],
    });
    let mut builder = ProgramBuilder::new(Task::Compress, "", Vec::new()).unwrap();
    let first = ConvSpec {
        out_channels: 9,
        output: OutputKind::Codes,
        ..SPEC
    };
    builder
        .wired_conv(first, shared, vec![1; 3 * AREA], vec![0; 9])
        .unwrap();
    let last = ConvSpec {
        kernel_height: 1,
        kernel_width: 1,
        ..SPEC
    };
    builder.conv(last, vec![1; 72], vec![0; 8]).unwrap();
    let mut bytes = builder.finish().unwrap().to_bytes();
    bytes[INDICES + 2] |= 0b100;
    assert_eq!(
        Program::from_bytes(&resealed(bytes))
            .unwrap_err()
            .to_string(),
        "layer 0 packed kernel indices end in unused bits 0b1, allowed: 0"
    );
}

#[test]
fn kernels_are_not_shared_across_groups() {
    let mut builder = ProgramBuilder::new(Task::Compress, "", Vec::new()).unwrap();
    let first = ConvSpec {
        output: OutputKind::Codes,
        ..SPEC
    };
    builder
        .conv(first, vec![1; 8 * 3 * AREA], vec![0; 8])
        .unwrap();
    let last = ConvSpec {
        kernel_height: 1,
        kernel_width: 1,
        groups: 2,
        ..SPEC
    };
    let wiring = Wiring {
        shared: wiring().shared,
        ..Wiring::default()
    };
    let expected =
        "layer 1 kernels is 3, allowed: 8: kernels are shared with 1 group only, not with 2";
    let error = builder
        .clone()
        .wired_conv(last, wiring, vec![1; 12], vec![0; 8])
        .unwrap_err();
    assert_eq!(error.to_string(), expected);
    builder.conv(last, vec![1; 32], vec![0; 8]).unwrap();
    let mut bytes = builder.finish().unwrap().to_bytes();
    // The digest, 19 bytes of biases, 8 of weights, gap_bits, kernels.
    let kernels = bytes.len() - 32 - 19 - 8 - 3;
    assert_eq!(bytes[kernels], 8);
    bytes[kernels] = 3;
    let error = Program::from_bytes(&resealed(bytes)).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_maker_cannot_build_what_no_file_holds() {
    let shared = |kernels, kernel_of| Wiring {
        shared: Some(Shared { kernels, kernel_of }),
        ..Wiring::default()
    };
    let pruned = |gap_bits, kept| Wiring {
        pruned: Some(Pruned { gap_bits, kept }),
        ..Wiring::default()
    };
    let cases = [
        (
            shared(8, (0..8).collect()),
            "layer 0 shared kernels is 8, allowed: fewer than the 8 output channels",
        ),
        (
            shared(3, vec![0; 7]),
            "layer 0 kernel indices is 7, allowed: 8, one an output channel",
        ),
        (
            shared(3, vec![0, 1, 2, 3, 0, 1, 2, 0]),
            "layer 0 kernel index is 3, allowed: 0 to 2",
        ),
        (
            pruned(0, vec![Vec::new(); 8]),
            "layer 0 gap_bits is 0, allowed: 1 to 10 where kernels are pruned",
        ),
        (
            pruned(2, vec![Vec::new(); 7]),
            "layer 0 lists of kept channels is 7, allowed: 8, one a kernel",
        ),
        (
            pruned(2, vec![vec![1, 1]; 8]),
            "layer 0 kept channel is 1, allowed: 2 to 2, ascending",
        ),
        (
            pruned(2, vec![vec![3]; 8]),
            "layer 0 kept channel is 3, allowed: 0 to 2, ascending",
        ),
        (wiring(), "layer 0 weights is 24576, allowed: 3072 weights"),
    ];
    for (wiring, expected) in cases {
        let error = built(SPEC, wiring, vec![1; 8 * 3 * AREA]).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn kernels_that_keep_nothing_give_their_biases() {
    let mut builder = ProgramBuilder::new(Task::Compress, "", Vec::new()).unwrap();
    let first = ConvSpec {
        out_channels: 1024,
        weights: WeightKind::Binary,
        output: OutputKind::Codes,
        bias_bits: 1,
        ..SPEC
    };
    let none = Sparsity {
        kernels: 100,
        gap_bits: 10,
        kept: 0,
        mirror: None,
    };
    let noise = &mut Noise(1);
    sparse_conv(&mut builder, first, none, noise).unwrap();
    // Unpacked, these would be a billion weights.
    let wide = ConvSpec {
        padding: 16,
        stride: 32,
        ..first
    };
    sparse_conv(&mut builder, wide, none, noise).unwrap();
    let last = ConvSpec {
        kernel_height: 1,
        kernel_width: 1,
        ..SPEC
    };
    sparse_conv(&mut builder, last, none, noise).unwrap();
    let program = Arc::new(builder.finish().unwrap());
    assert_eq!(program.macs(), 0);
    for kernel in Kernel::available() {
        let emulator = Emulator::with_kernel(program.clone(), kernel).unwrap();
        let output = emulator.run_patch(&[255; PATCH_BYTES]).unwrap();
        let Some(Op::Conv(last)) = program.layers().last().map(|layer| &layer.op) else {
            panic!("a convolution comes last");
        };
        let bits = (0..8).fold(0, |byte, c| byte | u8::from(last.biases[c] >= 0) << c);
        assert_eq!(output, nqe::Output::Bits(vec![bits]), "{kernel}");
    }
}
