//! `.nqe` files.

use std::sync::Arc;

use nqe::{BUDGET_BITS, Emulator, Kernel, PATCH_BYTES, Program};
use sha2::{Digest as _, Sha256};

/// Programs of more multiply-accumulates a patch are loaded and not run. The format bounds a program's memory, not its
/// work, and the reference takes a second for some that fit.
const MOST_MACS: u64 = 1 << 17;
const DIGEST: usize = 32;

pub(crate) fn run(input: &[u8]) {
    load(input);
    if let Some(sealed) = seal(input) {
        load(&sealed);
    }
}

/// The input with the length and digest that a file of its content has; a fuzzer does not find those.
fn seal(input: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = input[..input.len().checked_sub(DIGEST)?].to_vec();
    let body = u32::try_from(bytes.len().checked_sub(12)?).ok()?;
    bytes[8..12].copy_from_slice(&body.to_le_bytes());
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    Some(bytes)
}

fn load(bytes: &[u8]) {
    let program = match Program::from_bytes(bytes) {
        Ok(program) => program,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert!(program.to_bytes() == bytes, "a program has one encoding");
    assert!(program.memory().total() <= BUDGET_BITS);
    if program.macs() > MOST_MACS {
        return;
    }
    // Pixels that differ from program to program.
    let id = program.id();
    let pixels: Vec<u8> = (0..PATCH_BYTES)
        .map(|at| id.as_bytes()[at % DIGEST].wrapping_mul((at / DIGEST) as u8 | 1))
        .collect();
    let program = Arc::new(program);
    let mut outputs = Kernel::available().into_iter().map(|kernel| {
        let emulator = Emulator::with_kernel(program.clone(), kernel).expect("available");
        emulator.run_patch(&pixels).expect("a whole patch")
    });
    let reference = outputs.next();
    for output in outputs {
        assert_eq!(Some(output), reference, "all paths give the same bits");
    }
}
