//! Writes programs as [`format`](mod@crate::format) specifies.

use crate::bits;
use crate::kinds::{OutputKind, Task, WeightKind};
use crate::layer::Op;
use crate::program::Program;
use crate::shapes::{ConvSpec, Map};

pub(crate) const MAGIC: [u8; 4] = *b"NQE1";
pub(crate) const VERSION: u16 = 3;
pub(crate) const HEADER_LEN: usize = 12;
pub(crate) const DIGEST_LEN: usize = 32;

/// The file without its digest.
pub(crate) fn content(program: &Program) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, &program.name);
    body.extend((Map::INPUT.height as u16).to_le_bytes());
    body.extend((Map::INPUT.width as u16).to_le_bytes());
    body.push(Map::INPUT.channels as u8);
    body.extend((program.labels.len() as u16).to_le_bytes());
    for label in &program.labels {
        text(&mut body, label);
    }
    body.extend((program.layers.len() as u16).to_le_bytes());
    for layer in &program.layers {
        match &layer.op {
            Op::Conv(conv) => {
                body.push(0);
                conv_header(&mut body, &conv.spec);
                let codes = conv.weights.iter().map(|&weight| match conv.spec.weights {
                    WeightKind::Binary => i32::from(weight > 0),
                    WeightKind::Ternary | WeightKind::Quinary => weight.into(),
                });
                let channels = conv.stored_channels(layer.input);
                conv.wiring.write(&mut body, &conv.spec, channels);
                body.extend(bits::pack(codes, conv.spec.weights.bits()));
                body.extend(bits::pack(conv.biases.iter().copied(), conv.spec.bias_bits));
            }
            Op::Pool(pool) => body.extend([1, pool.kernel as u8, pool.stride as u8]),
        }
    }
    let mut bytes = Vec::with_capacity(HEADER_LEN + body.len() + DIGEST_LEN);
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.push(match program.task {
        Task::Classify => 0,
        Task::Compress => 1,
    });
    bytes.push(0);
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend(body);
    bytes
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.push(text.len() as u8);
    bytes.extend(text.as_bytes());
}

fn conv_header(bytes: &mut Vec<u8>, spec: &ConvSpec) {
    bytes.extend((spec.out_channels as u16).to_le_bytes());
    bytes.extend([
        spec.kernel_height as u8,
        spec.kernel_width as u8,
        spec.stride as u8,
        spec.padding as u8,
    ]);
    bytes.extend((spec.groups as u16).to_le_bytes());
    let output = match spec.output {
        OutputKind::Codes => 0,
        OutputKind::Latent => 1,
        OutputKind::Logits => 2,
    };
    bytes.extend([
        spec.weights.bits() as u8,
        output,
        spec.shift as u8,
        spec.bias_bits as u8,
    ]);
}
