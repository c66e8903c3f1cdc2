//! A decoder as an fp32 model.

use anyhow::{Context, Result};
use nqe::ProgramId;
use purenet::{ChannelOrder, Graph, Kernels};
use sha2::{Digest, Sha256};

use super::graph::{Builder, Value, fixed, free, int, ints, word};
use super::proto;

/// The model of a decoder's file. Input `latents` [frames, bits, rows, columns] f32 of patches, -1 and 1, 0 beyond a
/// prefix; output `rgb` [frames, 3, 32 rows, 32 columns] f32, nominally 0 to 1, not clamped.
///
/// # Errors
/// If the file is not a decoder.
pub(super) fn model(bytes: &[u8]) -> Result<proto::ModelProto> {
    let model = purenet::Model::from_safetensors(bytes)?;
    let properties = [
        ("program", ProgramId::from(model.program()).to_string()),
        (
            "decoder",
            ProgramId::from(<[u8; 32]>::from(Sha256::digest(bytes))).to_string(),
        ),
    ];
    let mut decoder = Decoder {
        graph: Builder::new("decoder"),
        model: &model,
    };
    let bits = model.layout().first().bits;
    let shape = [free("frames"), fixed(bits), free("rows"), free("columns")];
    let latents = decoder.graph.input::<f32>("latents", &shape);
    let purenet::Drawn { map, base } = model.draw(&mut decoder, latents)?;
    let mut graph = decoder.graph;
    match base {
        Some(base) => graph.node("Add", "rgb", &[&map, &base], Vec::new()),
        None => graph.node("Identity", "rgb", &[&map], Vec::new()),
    };
    let shape = [free("frames"), fixed(3), free("height"), free("width")];
    graph.output::<f32>("rgb", &shape);
    Ok(graph.finish(&properties))
}

/// The graph so far, and the weights of its convolutions.
struct Decoder<'a> {
    graph: Builder,
    model: &'a purenet::Model,
}

impl Graph for Decoder<'_> {
    type Value = Value;
    type Error = anyhow::Error;

    fn conv(&mut self, name: &str, map: &Value, kernels: Kernels) -> Result<Value> {
        let Kernels {
            outputs,
            side,
            unshuffled,
        } = kernels;
        let tensor = |part: &str| {
            let name = format!("{name}.{part}");
            let values = self.model.tensor(&name);
            values.with_context(|| format!("the decoder has no tensor `{name}`"))
        };
        let values = |part: &str| Ok::<_, anyhow::Error>(tensor(part)?.iter().copied().collect());
        let (mut weights, biases): (Vec<f32>, Vec<f32>) = (values("weight")?, values("bias")?);
        let inputs = weights.len() / (outputs * side * side);
        if unshuffled > 1 {
            weights = depth_last(&weights, inputs, side * side, unshuffled);
        }
        let dims = [outputs, inputs, side, side];
        let graph = &mut self.graph;
        let weights = graph.constant(&format!("{name}.weight"), &dims, &weights);
        let biases = graph.constant(&format!("{name}.bias"), &dims[..1], &biases);
        let attributes = vec![
            ints("kernel_shape", &dims[2..]),
            ints("pads", &[side / 2; 4]),
        ];
        Ok(graph.node("Conv", name, &[map, &weights, &biases], attributes))
    }

    fn relu(&mut self, name: &str, map: &Value) -> Value {
        let name = format!("{name}.relu");
        self.graph.node("Relu", &name, &[map], Vec::new())
    }

    fn add(&mut self, name: &str, a: &Value, b: &Value) -> Value {
        self.graph.node("Add", name, &[a, b], Vec::new())
    }

    fn shuffle(&mut self, name: &str, map: &Value, factor: usize, order: ChannelOrder) -> Value {
        if factor == 1 {
            return map.clone();
        }
        let mode = match order {
            ChannelOrder::ChannelFirst => "CRD",
            ChannelOrder::ChannelLast => "DCR",
        };
        let attributes = vec![int("blocksize", factor as i64), word("mode", mode)];
        self.graph.node("DepthToSpace", name, &[map], attributes)
    }

    fn unshuffle(&mut self, name: &str, map: &Value, factor: usize) -> Value {
        let block = vec![int("blocksize", factor as i64)];
        self.graph.node("SpaceToDepth", name, &[map], block)
    }
}

/// Weights whose input channels are PyTorch's of an unshuffled frame, (channel, position), in the order of
/// SpaceToDepth, (position, channel).
fn depth_last(weights: &[f32], inputs: usize, area: usize, positions: usize) -> Vec<f32> {
    let channels = inputs / positions;
    weights
        .chunks(inputs * area)
        .flat_map(|kernel| {
            let order = (0..positions)
                .flat_map(move |position| (0..channels).map(move |c| c * positions + position));
            order.flat_map(|input| &kernel[input * area..][..area])
        })
        .copied()
        .collect()
}
