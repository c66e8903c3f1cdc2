//! The chip: loaded programs and their memory maps.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use nqe::{BUDGET_BITS, Emulator};
use serde::Serialize;
use utoipa::ToSchema;

use super::state::App;
use crate::pipeline::Choice;

/// The chip and its programs.
#[derive(Serialize, ToSchema)]
pub(super) struct Chip {
    /// Bits of the chip's memory.
    budget_bits: u64,
    programs: Vec<ProgramJson>,
    /// Programs of cameras without a choice of their own.
    chosen: ChosenJson,
    /// Programs of cameras with a choice of their own, by camera.
    cameras: BTreeMap<String, ChosenJson>,
}

/// Ids of a camera's programs.
#[derive(Serialize, ToSchema)]
struct ChosenJson {
    compress: String,
    classify: String,
}

impl From<&Choice> for ChosenJson {
    fn from(choice: &Choice) -> Self {
        Self {
            compress: hex::encode(choice.compress.id()),
            classify: hex::encode(choice.classify.id()),
        }
    }
}

/// A loaded program.
#[derive(Serialize, ToSchema)]
struct ProgramJson {
    /// SHA-256 of the program.
    id: String,
    name: String,
    task: &'static str,
    /// Instruction set that the emulator uses.
    kernel: String,
    /// Classes of a program that classifies.
    labels: Vec<String>,
    /// Bits per patch of a program that compresses.
    latent_bits: Option<u32>,
    layers: usize,
    macs_per_patch: u64,
    memory_bits: Memory,
}

/// Memory of a program in bits.
#[derive(Serialize, ToSchema)]
struct Memory {
    weights: u64,
    wiring: u64,
    biases: u64,
    shifts: u64,
    maps: u64,
    total: u64,
}

/// The loaded programs, their memory maps and their work.
#[utoipa::path(get, path = "/v1/encoder", tag = "status", responses((status = 200, description = "The chip", body = Chip)))]
pub(super) async fn encoder(State(app): State<Arc<App>>) -> Json<Chip> {
    let programs = app.pipeline.encoder.programs().get();
    let loaded = programs.loaded().into_iter();
    let cameras = programs.cameras();
    Json(Chip {
        budget_bits: BUDGET_BITS,
        programs: loaded.map(|l| program(&l.emulator)).collect(),
        chosen: programs.all().into(),
        cameras: cameras
            .map(|(c, choice)| (c.to_owned(), choice.into()))
            .collect(),
    })
}

fn program(emulator: &Emulator) -> ProgramJson {
    let program = emulator.program();
    let memory = program.memory();
    let task = match program.task() {
        nqe::Task::Classify => "classify",
        nqe::Task::Compress => "compress",
    };
    ProgramJson {
        id: program.id().to_string(),
        name: program.name().to_owned(),
        task,
        kernel: emulator.path().to_string(),
        labels: program.labels().to_vec(),
        latent_bits: program.latent_bits(),
        layers: program.layers().len(),
        macs_per_patch: program.macs(),
        memory_bits: Memory {
            weights: memory.weights(),
            wiring: memory.wiring(),
            biases: memory.biases(),
            shifts: memory.shifts(),
            maps: memory.maps(),
            total: memory.total(),
        },
    }
}
