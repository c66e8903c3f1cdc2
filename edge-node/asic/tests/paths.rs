//! Every instruction set gives the bits of the reference model, on random programs.

mod common;

use std::sync::Arc;

use common::{Noise, Sparsity, WHOLE, conv, programs, sparse_conv};
use nqe::{
    ConvSpec, Emulator, Kernel, OutputKind, PATCH_BYTES, Program, ProgramBuilder, Task, WeightKind,
    reference,
};
use proptest::prelude::*;

/// Random pixels, and the extremes that reach the largest sums.
fn patches(seed: u64) -> Vec<Vec<u8>> {
    let mut noise = Noise(seed);
    let checkered = (0..PATCH_BYTES)
        .map(|i| if noise.below(2) == i % 2 { 255 } else { 0 })
        .collect();
    vec![
        noise.bytes(PATCH_BYTES),
        checkered,
        vec![0; PATCH_BYTES],
        vec![255; PATCH_BYTES],
    ]
}

fn agrees(program: Program, kernel: Kernel, seed: u64) -> Result<(), TestCaseError> {
    let program = Arc::new(program);
    let Some(emulator) = Emulator::with_kernel(program.clone(), kernel) else {
        return Ok(());
    };
    prop_assert_eq!(emulator.path(), kernel.name());
    for pixels in patches(seed) {
        let expected = reference::run(&program, pixels.as_slice().try_into().unwrap());
        prop_assert_eq!(emulator.run_patch(&pixels).unwrap(), expected);
    }
    if program.task() == Task::Compress && kernel != Kernel::Scalar {
        let patches = 1 + seed as usize % 40;
        batches(&emulator, patches, seed)?;
    }
    Ok(())
}

/// A frame of so many patches in a row is encoded as they are alone, in full batches and in the last one.
fn batches(emulator: &Emulator, patches: usize, seed: u64) -> Result<(), TestCaseError> {
    let width = 32 * patches;
    let rgb = Noise(seed).bytes(32 * width * 3);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let latents = pool
        .unwrap()
        .install(|| emulator.encode_frame(&rgb, width as u32, 32));
    let latents = latents.unwrap();
    for (index, latent) in latents.chunks(latents.len() / patches).enumerate() {
        let rows = rgb.chunks(width * 3);
        let patch: Vec<u8> = rows
            .flat_map(|row| &row[index * 96..][..96])
            .copied()
            .collect();
        let alone = emulator.run_patch(&patch).unwrap();
        prop_assert_eq!(alone, nqe::Output::Bits(latent.to_vec()), "patch {}", index);
    }
    Ok(())
}

macro_rules! equals_the_reference {
    ($($name:ident: $kernel:expr;)*) => {$(
        proptest! {
            #[test]
            fn $name(program in programs(), seed: u64) {
                agrees(program, $kernel, seed)?;
            }
        }
    )*};
}

equals_the_reference! {
    scalar_equals_the_reference: Kernel::Scalar;
    avx2_equals_the_reference: Kernel::Avx2;
    avxvnni_equals_the_reference: Kernel::AvxVnni;
    avx512vnni_equals_the_reference: Kernel::Avx512Vnni;
    amxint8_equals_the_reference: Kernel::AmxInt8;
    neon_equals_the_reference: Kernel::Neon;
    neondot_equals_the_reference: Kernel::NeonDot;
}

#[test]
fn the_fastest_path_is_taken_unless_asked() {
    let spec = ConvSpec {
        out_channels: 8,
        weights: WeightKind::Binary,
        bias_bits: 8,
        ..WHOLE
    };
    let mut builder = ProgramBuilder::new(Task::Compress, "one layer", Vec::new()).unwrap();
    conv(&mut builder, spec, &mut Noise(1)).unwrap();
    let emulator = Emulator::new(Arc::new(builder.finish().unwrap()));
    let available: Vec<_> = Kernel::available().into_iter().map(Kernel::name).collect();
    println!("path: {}", emulator.path());
    let asked = std::env::var(kernels::VARIABLE)
        .ok()
        .filter(|asked| available.contains(&asked.as_str()));
    assert_eq!(
        emulator.path(),
        asked.as_deref().unwrap_or(available[available.len() - 1])
    );
}

/// Thresholds on sums over the whole patch, then sparse layers, as compression programs have them.
fn threshold_program(units: u32, kernels: u32, kept: usize, bias_bits: u32, seed: u64) -> Program {
    let noise = &mut Noise(seed);
    let mut builder = ProgramBuilder::new(Task::Compress, "thresholds", Vec::new()).unwrap();
    let units_of = |out_channels, shift| ConvSpec {
        out_channels,
        output: OutputKind::Codes,
        shift,
        ..WHOLE
    };
    let shared = Sparsity {
        kernels,
        ..Sparsity::NONE
    };
    sparse_conv(&mut builder, units_of(units, 9), shared, noise).unwrap();
    let pruned = Sparsity {
        gap_bits: 4,
        kept,
        ..shared
    };
    let point = |spec| ConvSpec {
        kernel_height: 1,
        kernel_width: 1,
        bias_bits,
        ..spec
    };
    sparse_conv(&mut builder, point(units_of(90, 1)), pruned, noise).unwrap();
    sparse_conv(&mut builder, point(WHOLE), pruned, noise).unwrap();
    builder.finish().unwrap()
}

proptest! {
    #[test]
    fn thresholds_and_sparse_layers_equal_the_reference(
        units in 1u32..80, kernels in 1u32..=100, kept in 0usize..12,
        bias_bits in prop::sample::select(vec![4, 15, 16, 24]), seed: u64,
    ) {
        for kernel in Kernel::available() {
            agrees(threshold_program(units, kernels, kept, bias_bits, seed), kernel, seed)?;
        }
    }
}
