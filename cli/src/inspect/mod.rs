//! `inspect`: the parts of a program or a decoder and their cost, and the header of a file of latents.

mod latents;

use std::fmt::{self, Write};

use anyhow::{Context, Result};
use nqe::{BUDGET_BITS, Conv, Layer, LayerMemory, Map, Op, OutputKind, Program, ProgramId};
use purenet::{Decoder, Layout, Model, StageLayout};

use crate::args::InspectArgs;
use crate::edge::{Chip, Edge, MemoryBits, ProgramSummary};
use crate::frames::read_bounded;
use crate::models::{MAX_MODEL_BYTES, is_program};
use crate::terminal::{grouped, out, table};

/// Columns of the drawn memory map.
const MAP_WIDTH: u64 = 64;

/// Columns of the layer table; from the fifth on they are numbers.
const COLUMNS: [&str; 9] = [
    "",
    "layer",
    "output",
    "weights",
    "weight bits",
    "wiring",
    "bias, shift",
    "map bits",
    "MACs",
];

/// `patchwire inspect`.
pub(crate) fn run(args: &InspectArgs) -> Result<()> {
    match (&args.file, &args.edge) {
        (Some(path), _) => {
            let bytes = read_bounded(path, MAX_MODEL_BYTES)?;
            describe(&bytes).with_context(|| {
                format!(
                    "{} is no program, decoder, prior or file of latents that loads",
                    path.display()
                )
            })
        }
        (None, Some(url)) => {
            let edge = Edge::new(url, &args.access)?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let chip = runtime.block_on(edge.encoder())?;
            Ok(out(loaded(&chip)?)?)
        }
        (None, None) => {
            let shipped = [
                patchwire_models::CLASSIFY,
                patchwire_models::COMPRESS,
                patchwire_models::PRIOR,
                patchwire_models::DECODER,
                patchwire_models::FAST_DECODER,
            ];
            shipped
                .iter()
                .try_for_each(|bytes| describe(bytes).context("a shipped model does not load"))
        }
    }
}

fn describe(bytes: &[u8]) -> Result<()> {
    let text = if is_program(bytes) {
        program(&Program::from_bytes(bytes)?)?
    } else if let Some(text) = latents::describe(bytes) {
        text?
    } else {
        let decoder = Decoder::from_safetensors(bytes)?;
        describe_decoder(&decoder, Model::from_safetensors(bytes)?.layout())?
    };
    Ok(out(text)?)
}

fn program(program: &Program) -> Result<String, fmt::Error> {
    let mut text = String::new();
    let memory = program.memory();
    let summary = ProgramSummary {
        id: program.id().to_string(),
        name: program.name().to_owned(),
        task: program.task().to_string(),
        kernel: None,
        labels: program.labels().to_vec(),
        latent_bits: program.latent_bits(),
        layers: program.layers().len(),
        macs_per_patch: program.macs(),
        memory_bits: MemoryBits {
            weights: memory.weights(),
            wiring: memory.wiring(),
            biases: memory.biases(),
            shifts: memory.shifts(),
            maps: memory.maps(),
            total: memory.total(),
        },
    };
    head(&mut text, &summary)?;
    let mut rows = table(&COLUMNS, 4);
    for (i, (layer, bits)) in program.layers().iter().zip(&memory.layers).enumerate() {
        rows.add_row(row(i, layer, bits));
    }
    writeln!(text, "{rows}")?;
    memory_map(&mut text, &summary.memory_bits)?;
    Ok(text)
}

/// The programs of an edge node, and which camera uses which.
fn loaded(chip: &Chip) -> Result<String, fmt::Error> {
    let mut text = String::new();
    for program in &chip.programs {
        head(&mut text, program)?;
        memory_map(&mut text, &program.memory_bits)?;
        writeln!(text)?;
    }
    let name = |id: &str| {
        let program = chip.programs.iter().find(|program| program.id == id);
        program.map_or_else(|| id.to_owned(), |program| program.name.clone())
    };
    let mut rows = table(&["camera", "compresses with", "classifies with"], 3);
    let others = ("all others".to_owned(), &chip.chosen);
    let cameras = chip
        .cameras
        .iter()
        .map(|(camera, chosen)| (camera.clone(), chosen));
    for (camera, chosen) in cameras.chain([others]) {
        rows.add_row([camera, name(&chosen.compress), name(&chosen.classify)]);
    }
    writeln!(text, "{rows}")?;
    Ok(text)
}

fn head(text: &mut String, program: &ProgramSummary) -> fmt::Result {
    writeln!(text, "program    {:?}, {}", program.name, program.task)?;
    writeln!(text, "id         {}", program.id)?;
    match program.latent_bits {
        Some(bits) => writeln!(
            text,
            "output     {bits} bits a 32x32 patch, {} bpp",
            f64::from(bits) / 1024.0
        ),
        None => writeln!(text, "output     {}", program.labels.join(", ")),
    }?;
    writeln!(
        text,
        "work       {} multiply-accumulates a patch in {} layers",
        grouped(program.macs_per_patch),
        program.layers
    )?;
    match &program.kernel {
        Some(kernel) => writeln!(text, "runs on    {kernel}"),
        None => Ok(()),
    }
}

fn memory_map(text: &mut String, memory: &MemoryBits) -> fmt::Result {
    let parts = [
        ('█', "weights", memory.weights),
        ('◊', "wiring", memory.wiring),
        ('▓', "biases and shifts", memory.biases + memory.shifts),
        ('▒', "feature maps", memory.maps),
        ('·', "free", BUDGET_BITS.saturating_sub(memory.total)),
    ];
    writeln!(
        text,
        "memory     {} of {} bits",
        grouped(memory.total),
        grouped(BUDGET_BITS)
    )?;
    writeln!(text, "           [{}]", drawing(&parts))?;
    for (mark, name, bits) in parts {
        let percent = 100.0 * bits as f64 / BUDGET_BITS as f64;
        writeln!(
            text,
            "           {mark} {name:<18} {:>9} {percent:5.1} %",
            grouped(bits)
        )?;
    }
    Ok(())
}

fn row(i: usize, layer: &Layer, bits: &LayerMemory) -> [String; COLUMNS.len()] {
    let (kind, weights) = match &layer.op {
        Op::Conv(conv) => {
            let spec = &conv.spec;
            let mut kind = format!("conv {}x{}", spec.kernel_height, spec.kernel_width);
            if spec.stride > 1 {
                kind += &format!(" /{}", spec.stride);
            }
            if spec.groups > 1 {
                kind += &format!(", {} groups", spec.groups);
            }
            if spec.output == OutputKind::Codes {
                kind += &format!(", >> {}", spec.shift);
            }
            kind += &left_out(conv, layer.input.channels);
            let weights = format!("{} {}", grouped(conv.weights.len() as u64), spec.weights);
            (kind, weights)
        }
        Op::Pool(pool) => (
            format!("max pool {0}x{0} /{1}", pool.kernel, pool.stride),
            String::new(),
        ),
    };
    let Map {
        height,
        width,
        channels,
        ..
    } = layer.output;
    [
        (i + 1).to_string(),
        kind,
        format!("{height}x{width}x{channels}"),
        weights,
        grouped(bits.weights),
        grouped(bits.wiring),
        grouped(bits.biases + bits.shift),
        grouped(bits.maps()),
        grouped(bits.macs),
    ]
}

/// The sharing, pruning and mirroring of a convolution with `inputs` channels.
fn left_out(conv: &Conv, inputs: u32) -> String {
    let spec = &conv.spec;
    let kernels = conv.wiring.kernels(spec);
    let mut text = String::new();
    if conv.wiring.shared.is_some() {
        text += &format!(", {kernels} kernels for {} channels", spec.out_channels);
    }
    if conv.wiring.pruned.is_some() {
        let dense = kernels * spec.kernel_height * spec.kernel_width * (inputs / spec.groups);
        let percent = 100.0 * conv.weights.len() as f64 / f64::from(dense);
        text += &format!(", pruned to {percent:.1} %");
    }
    if conv.wiring.mirror.is_some() {
        text += ", mirrored";
    }
    text
}

/// The parts of the budget side by side. Each border is rounded, so that the whole keeps its width.
fn drawing(parts: &[(char, &str, u64)]) -> String {
    let column = |bits: u64| (bits * MAP_WIDTH + BUDGET_BITS / 2) / BUDGET_BITS;
    let mut start = 0;
    parts
        .iter()
        .map(|&(mark, _, bits)| {
            let columns = column(start + bits) - column(start);
            start += bits;
            std::iter::repeat_n(mark, columns as usize).collect::<String>()
        })
        .collect()
}

fn describe_decoder(decoder: &Decoder, network: &Layout) -> Result<String, fmt::Error> {
    let first = network.first();
    let mut text = String::new();
    write!(text, "decoder    for {} bits a 32x32 patch", first.bits)?;
    if !first.prefixes.is_empty() {
        let prefixes: Vec<_> = first.prefixes.iter().map(ToString::to_string).collect();
        write!(text, ", or the first {}", prefixes.join(", "))?;
    }
    writeln!(text)?;
    writeln!(text, "id         {}", ProgramId::from(decoder.id()))?;
    writeln!(text, "program    {}", ProgramId::from(decoder.program()))?;
    writeln!(text, "parameters {}", grouped(decoder.parameters()))?;
    let (patches, frames) = weights(network);
    writeln!(
        text,
        "weights    {} of 16 bits for patches, {} of 7 bits for the frame",
        grouped(patches),
        grouped(frames)
    )?;
    let hidden = grouped(first.hidden as u64);
    writeln!(text, "hidden     {hidden} units a patch")?;
    writeln!(
        text,
        "work       {} multiply-accumulates a pixel",
        grouped(decoder.macs_per_pixel().round() as u64)
    )?;
    Ok(text)
}

/// Numbers of weights: those of the first stage, in 16 bits, and those of convolutions, in 7.
fn weights(network: &Layout) -> (u64, u64) {
    let first = network.first();
    let maps = first.grid * first.grid * first.channels;
    let patches = first.hidden * (first.bits + maps);
    let frames = network.stages.iter().map(|stage| match stage {
        StageLayout::Conv(conv) => conv.input * conv.output * conv.kernel * conv.kernel,
        StageLayout::Residual(block) => 2 * (block.channels * block.kernel).pow(2),
        StageLayout::Join(join) => join.input * join.channels * join.kernel * join.kernel,
        StageLayout::PatchLinear(_) | StageLayout::PixelShuffle(_) => 0,
    });
    (patches as u64, frames.sum::<usize>() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drawing_keeps_its_width_and_its_shares() {
        let half = BUDGET_BITS / 2;
        let text = drawing(&[('w', "", half), ('m', "", 1), ('.', "", half - 1)]);
        assert_eq!(text.chars().count() as u64, MAP_WIDTH);
        assert_eq!(text.matches('w').count(), 32);
        assert_eq!(text.matches('.').count(), 32);
    }
}
