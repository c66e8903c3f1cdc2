//! Every instruction set gives the bits of the reference model, on random programs.

mod common;

use std::sync::Arc;

use common::{Noise, WHOLE, conv, programs};
use nqe::{
    ConvSpec, Emulator, Kernel, PATCH_BYTES, Program, ProgramBuilder, Task, WeightKind, reference,
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
    Ok(())
}

macro_rules! equals_the_reference {
    ($($name:ident: $kernel:expr;)*) => {$(
        proptest! {
            #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
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
    avx512vnni_equals_the_reference: Kernel::Avx512Vnni;
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
    let asked = std::env::var("NQE_PATH")
        .ok()
        .filter(|asked| available.contains(&asked.as_str()));
    assert_eq!(
        emulator.path(),
        asked.as_deref().unwrap_or(available[available.len() - 1])
    );
}
