//! What a node says first: who it is, and what is loaded into its chip.

use bytes::Bytes;
use patchwire_proto::v1;

use crate::programs::Programs;

/// Characters of a program's name that the cloud is told; UTF-8 takes at most 4 bytes each.
const MAX_NAME: usize = patchwire_proto::limits::MAX_TEXT / 4;

/// The hello of a node with these programs.
pub(super) fn hello(node_id: &str, programs: &Programs) -> v1::Hello {
    let programs = programs
        .loaded()
        .into_iter()
        .map(|l| announced(&l.emulator));
    let programs: Vec<_> = programs.collect();
    v1::Hello {
        node_id: node_id.into(),
        software_version: env!("CARGO_PKG_VERSION").into(),
        program_ids: programs.iter().map(|program| program.id.clone()).collect(),
        programs,
    }
}

/// What the cloud is told of a program.
pub fn announced(emulator: &nqe::Emulator) -> v1::Program {
    let program = emulator.program();
    let memory = program.memory();
    v1::Program {
        id: Bytes::copy_from_slice(program.id().as_bytes()),
        name: program.name().chars().take(MAX_NAME).collect(),
        classifies: program.task() == nqe::Task::Classify,
        latent_bits: program.latent_bits().unwrap_or(0),
        layers: program.layers().len() as u32,
        macs_per_patch: program.macs(),
        weight_bits: memory.weights(),
        wiring_bits: memory.wiring(),
        bias_bits: memory.biases(),
        shift_bits: memory.shifts(),
        map_bits: memory.maps(),
        budget_bits: nqe::BUDGET_BITS,
    }
}
