//! A decoder as an fp32 model.

use anyhow::{Context, Result};
use nqe::ProgramId;
use purenet::{Layout, PATCH, StageLayout};
use sha2::{Digest, Sha256};

use super::graph::{Builder, Value, fixed, free, int, ints, word};
use super::proto;

/// The model of a decoder's file. Input `latents` [frames, bits, rows, columns] f32 of patches, -1 and 1, 0 beyond a prefix;
/// output `rgb` [frames, 3, 32 rows, 32 columns] f32, nominally 0 to 1, not clamped.
///
/// # Errors
/// If the file is not a decoder.
pub(super) fn model(bytes: &[u8]) -> Result<proto::Model> {
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
        side: 0,
    };
    let layout = model.layout();
    let mut map = String::new();
    let mut frame = None;
    for stage in &layout.stages {
        map = decoder.stage(stage, map, frame.as_deref())?;
        if matches!(stage, StageLayout::PatchLinear { .. }) {
            frame = decoder.base(layout, &map);
        }
    }
    let mut graph = decoder.graph;
    match frame {
        Some(frame) => graph.node("Add", "rgb", &[&map, &frame], Vec::new()),
        None => graph.node("Identity", "rgb", &[&map], Vec::new()),
    };
    let shape = [free("frames"), fixed(3), free("height"), free("width")];
    graph.output::<f32>("rgb", &shape);
    Ok(graph.finish(&properties))
}

/// The graph so far.
struct Decoder<'a> {
    graph: Builder,
    model: &'a purenet::Model,
    /// Positions along the side of a patch, of the last map.
    side: usize,
}

impl Decoder<'_> {
    fn stage(&mut self, stage: &StageLayout, map: Value, frame: Option<&str>) -> Result<Value> {
        match stage {
            StageLayout::PatchLinear {
                name,
                bits,
                hidden,
                grid,
                channels,
                ..
            } => {
                let shape = [free("frames"), fixed(*bits), free("rows"), free("columns")];
                let mut map = self.graph.input::<f32>("latents", &shape);
                if let Some(units) = *hidden {
                    map = self.conv(&format!("{name}.hidden"), &map, units, 1, None)?;
                    map = self.relu(&format!("{name}.hidden"), &map);
                }
                map = self.conv(name, &map, grid * grid * channels, 1, None)?;
                self.side = *grid;
                // A patch's values are (row, column, channel).
                Ok(self.shuffle(&format!("{name}.map"), &map, *grid, "DCR"))
            }
            StageLayout::Conv {
                name,
                output,
                kernel,
                relu,
                ..
            } => {
                let map = self.conv(name, &map, *output, *kernel, None)?;
                Ok(if *relu { self.relu(name, &map) } else { map })
            }
            StageLayout::Residual {
                name,
                channels,
                kernel,
            } => {
                let (conv1, conv2) = (format!("{name}.conv1"), format!("{name}.conv2"));
                let inner = self.conv(&conv1, &map, *channels, *kernel, None)?;
                let inner = self.relu(&conv1, &inner);
                let inner = self.conv(&conv2, &inner, *channels, *kernel, None)?;
                Ok(self.graph.node("Add", name, &[&map, &inner], Vec::new()))
            }
            StageLayout::PixelShuffle { factor } => {
                self.side *= factor;
                let name = format!("shuffle{}", self.side);
                Ok(self.shuffle(&name, &map, *factor, "CRD"))
            }
            StageLayout::Join {
                name,
                channels,
                kernel,
                ..
            } => {
                let frame = frame.context("the network joins a base that it does not have")?;
                let factor = PATCH / self.side;
                let mut pixels = frame.to_owned();
                if factor > 1 {
                    let block = vec![int("blocksize", factor as i64)];
                    let name = format!("{name}.pixels");
                    pixels = self.graph.node("SpaceToDepth", &name, &[frame], block);
                }
                let joined = format!("{name}.joined");
                let conv = self.conv(name, &pixels, *channels, *kernel, Some(factor))?;
                Ok(self.graph.node("Add", &joined, &[&map, &conv], Vec::new()))
            }
        }
    }

    /// The frame that later stages add to and join, where the network has one.
    fn base(&mut self, layout: &Layout, map: &str) -> Option<Value> {
        let base = layout.base.as_ref()?;
        Some(self.shuffle("base", map, base.factor, "CRD"))
    }

    /// A convolution with tensors of this name. With `unshuffled`, its input has been unshuffled by so much from a frame of
    /// red, green and blue.
    fn conv(
        &mut self,
        name: &str,
        map: &str,
        outputs: usize,
        kernel: usize,
        unshuffled: Option<usize>,
    ) -> Result<Value> {
        let tensor = |part: &str| {
            let name = format!("{name}.{part}");
            let values = self.model.tensor(&name);
            values.with_context(|| format!("the decoder has no tensor `{name}`"))
        };
        let (mut weights, biases) = (tensor("weight")?.to_vec(), tensor("bias")?.to_vec());
        let inputs = weights.len() / (outputs * kernel * kernel);
        if let Some(factor) = unshuffled {
            weights = depth_last(&weights, inputs, kernel * kernel, factor * factor);
        }
        let dims = [outputs, inputs, kernel, kernel];
        let weights = self
            .graph
            .constant(&format!("{name}.weight"), &dims, &weights);
        let biases = self
            .graph
            .constant(&format!("{name}.bias"), &dims[..1], &biases);
        let attributes = vec![
            ints("kernel_shape", &dims[2..]),
            ints("pads", &[kernel / 2; 4]),
        ];
        Ok(self
            .graph
            .node("Conv", name, &[map, &weights, &biases], attributes))
    }

    fn relu(&mut self, name: &str, map: &str) -> Value {
        self.graph
            .node("Relu", &format!("{name}.relu"), &[map], Vec::new())
    }

    /// Channels to positions, in one of the orders that ONNX has.
    fn shuffle(&mut self, name: &str, map: &str, factor: usize, mode: &str) -> Value {
        if factor == 1 {
            return map.to_owned();
        }
        let attributes = vec![int("blocksize", factor as i64), word("mode", mode)];
        self.graph.node("DepthToSpace", name, &[map], attributes)
    }
}

/// Weights whose input channels are PyTorch's of an unshuffled frame, (channel, position), in the order of SpaceToDepth,
/// (position, channel).
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
